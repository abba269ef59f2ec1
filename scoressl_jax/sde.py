"""Forward processes x_t = alpha(t) x_0 + std(t) z, t in [0, 1]: VE, VP and sub-VP.

Formulas: Song et al. 2021, "Score-based generative modeling through stochastic differential equations",
equations 29 to 31, in the conventions of the released code (VE keeps std = sigma(t), not its square minus
sigma_min squared). Times are `[B]`, images `[B, ...]`; every method is pure and may be traced.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

TRAINING_EPS = 1e-5  # smallest time in training, for every process


def expand(values, x):
    """Append axes to `values [B]` so that it multiplies `x [B, ...]`."""
    return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


class SDE:
    """What the three processes share. A process gives marginal and its inverses, drift, diffusion, discretize and
    langevin_alpha, and sampling_eps, the time at which sampling ends."""

    def perturb(self, x_0, t, z):
        """A draw of p_t(x | x_0) that uses the standard normal noise `z [B, ...]`."""
        alpha, std = self.marginal(t)
        return expand(alpha, x_0) * x_0 + expand(std, x_0) * z

    def log_sigma(self, t):
        """Log noise-to-signal ratio log(std / alpha), which is what networks see, `[B]`."""
        alpha, std = self.marginal(t)
        return jnp.log(std) - jnp.log(alpha)

    def later_time(self, t, delta):
        """Largest t' <= 1 with std(t') - std(t) <= delta (temporal consistency; facts: Delta of both papers), `[B]`."""
        std_end = self.marginal(jnp.ones_like(t))[1]
        later = self.inverse_std(jnp.minimum(self.marginal(t)[1] + delta, std_end))
        return jnp.clip(later, t, 1.0)


@dataclass(frozen=True)
class VE(SDE):
    """Variance exploding: alpha = 1, std = sigma_min (sigma_max / sigma_min)^t."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    sampling_eps = 1e-5

    @property
    def _log_ratio(self):
        return jnp.log(self.sigma_max / self.sigma_min)

    def marginal(self, t):
        """Coefficient of x_0 and standard deviation, each `[B]`."""
        return jnp.ones_like(t), self.sigma_min * jnp.exp(t * self._log_ratio)

    def inverse_std(self, std):
        """The time at which the standard deviation is `std`."""
        return jnp.log(std / self.sigma_min) / self._log_ratio

    def time_of_log_sigma(self, log_sigma):
        """The time at which log(std / alpha) is `log_sigma`."""
        return (log_sigma - jnp.log(self.sigma_min)) / self._log_ratio

    def drift(self, x, t):
        return jnp.zeros_like(x)

    def diffusion(self, t):
        return self.marginal(t)[1] * jnp.sqrt(2 * self._log_ratio)

    def discretize(self, x, t, dt):
        """Step x_(t-dt) -> x_t as x + f + G z: f like x, G `[B]`. Below t = 0 there is no noise (sigma_-1 = 0)."""
        before = jnp.where(t - dt > 0, self.marginal(t - dt)[1], 0.0)
        return jnp.zeros_like(x), jnp.sqrt(self.marginal(t)[1] ** 2 - before**2)

    def langevin_alpha(self, t, dt):
        return jnp.ones_like(t)


@dataclass(frozen=True)
class VP(SDE):
    """Variance preserving: dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw, beta linear in t."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    sampling_eps = 1e-3

    def beta(self, t):
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def log_alpha(self, t):
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def time_of_log_alpha(self, log_alpha):
        # The root of a quadratic in the form that does not cancel near t = 0.
        root = jnp.sqrt(self.beta_min**2 - 4 * (self.beta_max - self.beta_min) * log_alpha)
        return -4 * log_alpha / (root + self.beta_min)

    def log_alpha_of(self, log_sigma):
        """Log alpha where the noise-to-signal ratio std / alpha is exp(log_sigma), also beyond t = 1."""
        return -0.5 * jax.nn.softplus(2 * log_sigma)

    def time_of_log_sigma(self, log_sigma):
        return self.time_of_log_alpha(self.log_alpha_of(log_sigma))

    def marginal(self, t):
        log_alpha = self.log_alpha(t)
        return jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2 * log_alpha))

    def inverse_std(self, std):
        return self.time_of_log_alpha(0.5 * jnp.log1p(-(std**2)))

    def drift(self, x, t):
        return -0.5 * expand(self.beta(t), x) * x

    def diffusion(self, t):
        return jnp.sqrt(self.beta(t))

    def discretize(self, x, t, dt):
        """The DDPM chain: f = sqrt(1 - beta dt) x - x, G = sqrt(beta dt)."""
        step = jnp.minimum(self.beta(t) * dt, 0.999)
        return (jnp.sqrt(1 - expand(step, x)) - 1) * x, jnp.sqrt(step)

    def langevin_alpha(self, t, dt):
        return 1 - jnp.minimum(self.beta(t) * dt, 0.999)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-VP: the mean of VP, std = 1 - alpha^2 (without the root), hence a smaller diffusion."""

    def log_alpha_of(self, log_sigma):
        return -jnp.arcsinh(jnp.exp(log_sigma) / 2)

    def marginal(self, t):
        log_alpha = self.log_alpha(t)
        return jnp.exp(log_alpha), -jnp.expm1(2 * log_alpha)

    def inverse_std(self, std):
        return self.time_of_log_alpha(0.5 * jnp.log1p(-std))

    def diffusion(self, t):
        return jnp.sqrt(self.beta(t) * -jnp.expm1(4 * self.log_alpha(t)))

    def discretize(self, x, t, dt):
        """Euler-Maruyama, as the released code does for this process."""
        return self.drift(x, t) * dt, self.diffusion(t) * jnp.sqrt(dt)
