"""NCSN++ (Song et al. 2021, appendix H): the score network, a U-Net on the noise level.

In: `x [B, H, W, C]`, already scaled (scaling.py), and `log_sigma [B]`. Out: `[B, H, W, C]`. Height and width must
be divisible by 2^(levels - 1). Layers are created in the order of the released network.
"""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.models.convolution import Conv
from scoressl_jax.models.layers import (
    NoiseEmbedding,
    default_init,
    downsample_fir,
    group_norm,
    resample_fir,
    upsample_fir,
)

ROOT_HALF = 0.5**0.5


def conv3x3(features, init_scale=1.0, strides=1, padding="SAME"):
    return Conv(features, (3, 3), strides=strides, padding=padding, kernel_init=default_init(init_scale))


class ResidualBlock(nn.Module):
    """BigGAN-style residual block of NCSN++, optionally halving or doubling the resolution with FIR filters."""

    features: int
    resample: str = "none"  # none, up, down
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, embedding, train):
        h = nn.swish(group_norm(x.shape[-1])(x))
        if self.resample != "none":
            resample = {"up": upsample_fir, "down": downsample_fir}[self.resample]
            h, x = resample(h), resample(x)
        h = conv3x3(self.features)(h)
        h = h + nn.Dense(self.features, kernel_init=default_init())(nn.swish(embedding))[:, None, None]
        h = nn.swish(group_norm(self.features)(h))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv3x3(self.features, init_scale=0.0)(h)
        if self.resample != "none" or x.shape[-1] != self.features:
            x = Conv(self.features, (1, 1), kernel_init=default_init())(x)
        return (x + h) * ROOT_HALF


class Attention(nn.Module):
    """Single-head self-attention over the pixels, with a residual connection."""

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        h = group_norm(c)(x).reshape(b, height * width, c)
        q, k, v = (nn.Dense(c, kernel_init=default_init(0.1))(h) for _ in range(3))
        weights = nn.softmax(jnp.einsum("bqc,bkc->bqk", q, k) * c**-0.5, axis=-1)
        h = nn.Dense(c, kernel_init=default_init(0.0))(jnp.einsum("bqk,bkc->bqc", weights, v))
        return (x + h.reshape(x.shape)) * ROOT_HALF


class PyramidDownsample(nn.Module):
    """The residual input pyramid: FIR filter, then a 3x3 convolution of stride 2."""

    features: int

    @nn.compact
    def __call__(self, x):
        return conv3x3(self.features, strides=2, padding="VALID")(resample_fir(x, (2, 2)))


class NCSNpp(nn.Module):
    """The U-Net. Attention acts at the resolutions (heights) listed; the default is the full-size CIFAR-10 network."""

    width: int = 128
    multipliers: tuple = (1, 2, 2, 2)
    blocks: int = 4
    attention: tuple = (16,)
    dropout: float = 0.1
    embedding: int = 128

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        levels = len(self.multipliers)
        if any(size % 2 ** (levels - 1) for size in x.shape[1:3]):
            raise ValueError(f"images of {x.shape[1]}x{x.shape[2]} cannot be halved {levels - 1} times")
        embedding = NoiseEmbedding(self.embedding)(log_sigma)

        def block(h, features, resample="none"):
            return ResidualBlock(features, resample, self.dropout)(h, embedding, train)

        # Down: residual blocks a level, then halve and add the input pyramid.
        pyramid, h = x, conv3x3(self.width)(x)
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                h = block(h, self.width * multiplier)
                if h.shape[1] in self.attention:
                    h = Attention()(h)
                skips.append(h)
            if level < levels - 1:
                h = block(h, h.shape[-1], "down")
                pyramid = PyramidDownsample(h.shape[-1])(pyramid)
                h = pyramid = (pyramid + h) * ROOT_HALF
                skips.append(h)

        # Middle.
        h = block(h, h.shape[-1])
        h = Attention()(h)
        h = block(h, h.shape[-1])

        # Up: one block more a level, each on the concatenated skip; attention once a level.
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for _ in range(self.blocks + 1):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), self.width * multiplier)
            if h.shape[1] in self.attention:
                h = Attention()(h)
            if level > 0:
                h = block(h, h.shape[-1], "up")

        h = nn.swish(group_norm(h.shape[-1])(h))
        return conv3x3(x.shape[-1], init_scale=0.0)(h)
