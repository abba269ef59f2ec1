"""A score network: a body between its input and output scaling, both of which it owns.

In: noisy images in variance-exploding coordinates, `x = x_0 + sigma z` with x_0 in [0, 1], and `log_sigma [B]`.
Out: the score of x, `[B, ...]`. Other processes are mapped to these coordinates by `guidance.score_fn`.
"""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.sde import expand

INDICES = 1000  # noise levels of score_sde's discrete networks
POSITIONAL = ("time", "index")  # scalings whose body has a positional embedding
SCALINGS = ("gaussian", "sigma", *POSITIONAL)
DATA_MEAN, DATA_STD = 0.5, 0.5  # of images in [0, 1], roughly: the Gaussian that `gaussian` scaling corrects


class ScoreNetwork(nn.Module):
    """`scaling` is one of

    `gaussian`: the score of Gaussian data plus a correction of unit size (Karras et al. 2022, table 1, rewritten for
    scores): with s^2 = sigma^2 + DATA_STD^2, score = -(x - m) / s^2 + DATA_STD / (sigma s) body((x - m) / s).
    `sigma`: score_sde's for VE, body(2x - 1, log sigma) / sigma.
    `time`: score_sde's for VP and sub-VP, -body(alpha (2x - 1), 999 t) / sigma at the time t of `process` at which the
    noise-to-signal ratio of images in [-1, 1] is 2 sigma.
    `index`: score_sde's for VE with discrete noise levels, body(2x - 1, k) / sigma_k with level k nearest to sigma,
    counted from the highest of `process`.
    """

    body: nn.Module
    scaling: str = "gaussian"
    process: object = None  # the SDE that a network of `time` or `index` was trained with

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        sigma = expand(jnp.exp(log_sigma), x)
        if self.scaling == "gaussian":
            scale = jnp.sqrt(sigma**2 + DATA_STD**2)
            h = self.body((x - DATA_MEAN) / scale, log_sigma, train)
            return DATA_STD / (sigma * scale) * h - (x - DATA_MEAN) / scale**2
        if self.scaling == "sigma":
            return self.body(2 * x - 1, log_sigma, train) / sigma
        if self.scaling == "time":
            log_alpha = self.process.log_alpha_of(log_sigma + jnp.log(2.0))
            t = jnp.clip(self.process.time_of_log_alpha(log_alpha), 0, 1)
            return -self.body(expand(jnp.exp(log_alpha), x) * (2 * x - 1), 999 * t, train) / sigma
        t = self.process.inverse_std(jnp.exp(log_sigma))
        index = jnp.clip(jnp.round((1 - t) * (INDICES - 1)), 0, INDICES - 1)
        level = self.process.marginal(1 - index / (INDICES - 1))[1]
        return self.body(2 * x - 1, index, train) / expand(level, x)
