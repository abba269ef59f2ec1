"""Fully connected networks with the interfaces of NCSNpp and WideResNet, for tiny images and for vectors.

Images are flattened. On 8x8 digits they beat convolutions at equal time, because a step costs a tenth.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.models.layers import NoiseEmbedding, at_least_float32
from scoressl_jax.sde import expand


class ResidualMLP(nn.Module):
    """`blocks` pre-norm residual blocks of `width` units on `[B, D]`, told the noise level; returns `[B, width]`."""

    width: int
    blocks: int
    embedding: int
    dropout: float = 0.0
    dtype: object = None  # of the products; LayerNorm and the sum of the blocks stay in float32

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        dense = partial(nn.Dense, self.width, dtype=self.dtype)
        embedding = nn.swish(NoiseEmbedding(self.embedding, scale=1.0)(log_sigma))
        h = at_least_float32(dense()(x))
        for _ in range(self.blocks):
            r = dense()(nn.swish(nn.LayerNorm()(h))) + dense()(embedding)
            r = nn.Dropout(self.dropout, deterministic=not train)(nn.swish(r))
            h = h + dense(kernel_init=nn.initializers.zeros)(r)
        return nn.swish(nn.LayerNorm()(h))


class MLP(nn.Module):
    """Body of a score network: scaled `x [B, ...]` and `log_sigma [B]` -> like x."""

    width: int = 512
    blocks: int = 3
    dropout: float = 0.0
    embedding: int = 16
    dtype: object = None

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        flat = x.reshape(x.shape[0], -1)
        h = ResidualMLP(self.width, self.blocks, self.embedding, self.dropout, self.dtype)(flat, log_sigma, train)
        return nn.Dense(flat.shape[-1], kernel_init=nn.initializers.zeros)(h).reshape(x.shape)


class MLPClassifier(nn.Module):
    """Noise-conditional classifier: `(logits [B, classes], features [B, width])`; x_hat as in WideResNet."""

    num_classes: int
    width: int = 256
    blocks: int = 2
    denoised_input: bool = False
    embedding: int = 16
    dtype: object = None

    @nn.compact
    def __call__(self, x, log_sigma, x_hat=None):
        if self.denoised_input != (x_hat is not None):
            raise ValueError("x_hat is given exactly when denoised_input is set")
        inputs = [x / jnp.sqrt(1 + expand(jnp.exp(2 * log_sigma), x))] + ([x_hat] if self.denoised_input else [])
        flat = jnp.concatenate([i.reshape(i.shape[0], -1) for i in inputs], axis=-1)
        features = ResidualMLP(self.width, self.blocks, self.embedding, dtype=self.dtype)(flat, log_sigma)
        return nn.Dense(self.num_classes)(features), features
