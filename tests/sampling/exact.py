"""Data whose every score is known: an equal-covariance mixture of two Gaussians, in NumPy's float64 and as a score."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import ortho_group


@dataclass(frozen=True)
class Mixture:
    """weights [2], means [2, D], axes [D, D] (columns are orthonormal), spreads [D]: standard deviations along them."""

    weights: np.ndarray
    means: np.ndarray
    axes: np.ndarray
    spreads: np.ndarray

    @property
    def covariance(self):
        return self.axes @ np.diag(self.spreads**2) @ self.axes.T


def make_mixture(dimension=64, apart=0.8, weights=(0.3, 0.7), seed=0):
    """Components `apart` on either side of 0.4 along the first axis; apart = 0 is one Gaussian."""
    axes = ortho_group.rvs(dimension, random_state=seed)
    spreads = np.random.default_rng(seed).uniform(0.2, 0.5, dimension)
    spreads[0] = 0.2  # four spreads to the middle, so that the components are told apart by their side of it
    means = 0.4 + apart * np.asarray([[1.0], [-1.0]]) * axes[:, 0]
    return Mixture(np.asarray(weights), means, axes, spreads)


def log_joint(mixture, sde, x, t):
    """log p(label, x_t) `[B, 2]` up to a constant, of x `[B, ...]`."""
    alpha, std = (v[:, None] for v in sde.marginal(t))
    variance = alpha**2 * jnp.asarray(mixture.spreads) ** 2 + std**2
    along = lambda y: y @ jnp.asarray(mixture.axes)  # noqa: E731
    off = along(x.reshape(x.shape[0], -1))[:, None] - alpha[..., None] * along(jnp.asarray(mixture.means))
    return jnp.log(jnp.asarray(mixture.weights)) - 0.5 * (off**2 / variance[:, None]).sum(-1)


def score(mixture, sde):
    """The exact score of x_t `[B, ...]`."""

    def total(x, t):
        return jax.nn.logsumexp(log_joint(mixture, sde, x, t), axis=1).sum()

    return jax.grad(total)


def classifier(mixture, sde):
    """The exact posterior, as a classifier function."""
    return lambda x, t: (log_joint(mixture, sde, x, t), x)
