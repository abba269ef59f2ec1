"""NCSN++ and DDPM++ (Song et al. 2021, appendix H): the score network, a U-Net on the noise level.

In: `x [B, H, W, C]`, already scaled (scaling.py), and the noise level `[B]`: its log for a Fourier embedding, a number
up to 999 for a positional one. Out: `[B, H, W, C]`. Height and width must be divisible by patch 2^(levels - 1). The
options are those in which score_sde's released configurations differ; layers are created in the order of its networks.
"""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.models.convolution import Conv
from scoressl_jax.models.layers import (
    NoiseEmbedding,
    at_least_float32,
    average_pixels,
    channels_to_pixels,
    default_init,
    downsample_fir,
    group_norm,
    pixels_to_channels,
    repeat_pixels,
    resample_fir,
    upsample_fir,
)

ROOT_HALF = 0.5**0.5
PYRAMIDS = ("residual", "skip", "none")


def conv3x3(features, init_scale=1.0, strides=1, padding="SAME", dtype=None):
    return Conv(features, (3, 3), strides=strides, padding=padding, kernel_init=default_init(init_scale), dtype=dtype)


def upsample(x, fir):
    return upsample_fir(x) if fir else repeat_pixels(x)


def downsample(x, fir):
    return downsample_fir(x) if fir else average_pixels(x)


class ResidualBlock(nn.Module):
    """BigGAN-style residual block of NCSN++; `resample` (none, up, down) halves or doubles the resolution."""

    features: int
    resample: str = "none"
    fir: bool = True
    dropout: float = 0.0
    dtype: object = None

    @nn.compact
    def __call__(self, x, embedding, train):
        h = nn.swish(group_norm(x.shape[-1])(x))
        if self.resample != "none":
            resample = {"up": upsample, "down": downsample}[self.resample]
            h, x = resample(h, self.fir), resample(x, self.fir)
        h = conv3x3(self.features, dtype=self.dtype)(h)
        dense = nn.Dense(self.features, kernel_init=default_init(), dtype=self.dtype)
        h = h + dense(nn.swish(embedding))[:, None, None]
        h = nn.swish(group_norm(self.features)(h))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv3x3(self.features, init_scale=0.0, dtype=self.dtype)(h)
        if self.resample != "none" or x.shape[-1] != self.features:
            x = Conv(self.features, (1, 1), kernel_init=default_init(), dtype=self.dtype)(x)
        return (x + h) * ROOT_HALF


class Attention(nn.Module):
    """Single-head self-attention over the pixels, with a residual connection."""

    dtype: object = None

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        dense = lambda scale: nn.Dense(c, kernel_init=default_init(scale), dtype=self.dtype)  # noqa: E731
        h = group_norm(c)(x).reshape(b, height * width, c)
        q, k, v = (dense(0.1)(h) for _ in range(3))
        weights = nn.softmax(at_least_float32(jnp.einsum("bqc,bkc->bqk", q, k)) * c**-0.5, axis=-1).astype(v.dtype)
        h = dense(0.0)(jnp.einsum("bqk,bkc->bqc", weights, v))
        return (x + h.reshape(x.shape)) * ROOT_HALF


class PyramidDownsample(nn.Module):
    """The residual input pyramid: FIR filter, then a 3x3 convolution of stride 2."""

    features: int
    dtype: object = None

    @nn.compact
    def __call__(self, x):
        return conv3x3(self.features, strides=2, padding="VALID", dtype=self.dtype)(resample_fir(x, (2, 2)))


class Combine(nn.Module):
    """The skip input pyramid: the halved image through a 1x1 convolution, added to the features."""

    dtype: object = None

    @nn.compact
    def __call__(self, image, h):
        return h + Conv(h.shape[-1], (1, 1), kernel_init=default_init(), dtype=self.dtype)(image)


class NCSNpp(nn.Module):
    """The U-Net. Attention acts at the resolutions (heights) listed; the default is the full-size CIFAR-10 network.

    DDPM++ is `kind="positional", fir=False, pyramid="none"`. `pyramid` says how the shrunk image enters each level:
    `residual`, `none`, or `skip`, which also adds up an output image from all levels (released at 256 pixels and more).
    `dtype=jnp.bfloat16` computes in it, with parameters, normalisation, softmax and output in float32. With `patch`,
    the pixels of each patch are channels at the way in and out, and the network runs on an image smaller by as much.
    """

    width: int = 128
    multipliers: tuple = (1, 2, 2, 2)
    blocks: int = 4
    attention: tuple = (16,)
    dropout: float = 0.1
    embedding: int = 128
    kind: str = "fourier"
    fir: bool = True
    pyramid: str = "residual"
    dtype: object = None
    patch: int = 1

    @nn.compact
    def __call__(self, x, level, train=False):
        levels, dtype = len(self.multipliers), self.dtype
        if any(size % (self.patch * 2 ** (levels - 1)) for size in x.shape[1:3]):
            raise ValueError(
                f"images of {x.shape[1]}x{x.shape[2]} with patches of {self.patch} cannot be halved {levels - 1} times"
            )
        x = pixels_to_channels(x, self.patch)
        embedding = NoiseEmbedding(self.embedding, kind=self.kind)(level)

        def block(h, features, resample="none"):
            return ResidualBlock(features, resample, self.fir, self.dropout, dtype)(h, embedding, train)

        def output(h):
            return conv3x3(x.shape[-1], init_scale=0.0, dtype=dtype)(nn.swish(group_norm(h.shape[-1])(h)))

        # Down: residual blocks a level, then halve and add the input pyramid.
        pyramid, h = x, conv3x3(self.width, dtype=dtype)(x)
        skips = [h]
        for i, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                h = block(h, self.width * multiplier)
                if h.shape[1] in self.attention:
                    h = Attention(dtype)(h)
                skips.append(h)
            if i < levels - 1:
                h = block(h, h.shape[-1], "down")
                if self.pyramid == "residual":
                    pyramid = PyramidDownsample(h.shape[-1], dtype)(pyramid)
                    h = pyramid = (pyramid + h) * ROOT_HALF
                elif self.pyramid == "skip":
                    pyramid = downsample(pyramid, self.fir)
                    h = Combine(dtype)(pyramid, h)
                skips.append(h)

        # Middle.
        h = block(h, h.shape[-1])
        h = Attention(dtype)(h)
        h = block(h, h.shape[-1])

        # Up: one block more a level, each on the concatenated skip; attention once a level.
        image = None
        for i, multiplier in reversed(list(enumerate(self.multipliers))):
            for _ in range(self.blocks + 1):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), self.width * multiplier)
            if h.shape[1] in self.attention:
                h = Attention(dtype)(h)
            if self.pyramid == "skip":
                image = output(h) if image is None else upsample(image, self.fir) + output(h)
            if i > 0:
                h = block(h, h.shape[-1], "up")
        return channels_to_pixels(output(h) if image is None else image, self.patch).astype(x.dtype)
