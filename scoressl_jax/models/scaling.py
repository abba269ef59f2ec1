"""A score network: a body between its input and output scaling, both of which it owns.

In: noisy images in variance-exploding coordinates, `x = x_0 + sigma z` with x_0 in [0, 1], and `log_sigma [B]`.
Out: the score of x, `[B, ...]`. Other processes are mapped to these coordinates by `guidance.score_fn`.
"""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.sde import expand

DATA_MEAN, DATA_STD = 0.5, 0.5  # of images in [0, 1], roughly: the Gaussian that `gaussian` scaling corrects


class ScoreNetwork(nn.Module):
    """`scaling` is one of

    `sigma`: score_sde's, body(2x - 1) / sigma.
    `gaussian`: the score of Gaussian data plus a correction of unit size (Karras et al. 2022, table 1, rewritten for
    scores): with s^2 = sigma^2 + DATA_STD^2, score = -(x - m) / s^2 + DATA_STD / (sigma s) body((x - m) / s).
    """

    body: nn.Module
    scaling: str = "gaussian"

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        sigma = expand(jnp.exp(log_sigma), x)
        if self.scaling == "sigma":
            return self.body(2 * x - 1, log_sigma, train) / sigma
        scale = jnp.sqrt(sigma**2 + DATA_STD**2)
        h = self.body((x - DATA_MEAN) / scale, log_sigma, train)
        return DATA_STD / (sigma * scale) * h - (x - DATA_MEAN) / scale**2
