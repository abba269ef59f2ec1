"""Noise-conditional WideResNet-d-k, the classifier: score_sde's network, and the papers' two changes to it.

In: `x [B, H, W, C]`, `log_sigma [B]` and, for a denoising-assisted classifier, the denoised image `x_hat` like x.
Out: `(logits [B, classes], features [B, 64 k])`, the features being the penultimate layer, which consistency
losses compare. The network standardises each input image by itself, so the scale of x does not matter.
"""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.models.convolution import Conv
from scoressl_jax.models.layers import (
    InstanceNormPlus,
    NoiseEmbedding,
    at_least_float32,
    average_pixels,
    group_norm,
    pixels_to_channels,
    standardize,
)

conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv3x3(features, strides=1, dtype=None):
    return Conv(features, (3, 3), strides=strides, use_bias=False, kernel_init=conv_init, dtype=dtype)


def stem(features, denoised_input, x, x_hat, dtype, patch=1):
    """Convolution of the standardised image, plus one of the denoised image. Called inside a module."""
    if denoised_input != (x_hat is not None):
        raise ValueError("x_hat is given exactly when denoised_input is set")
    of = lambda image: conv3x3(features, dtype=dtype)(pixels_to_channels(standardize(image), patch))  # noqa: E731
    return of(x) + of(x_hat) if denoised_input else of(x)


def head_init(key, shape, dtype=jnp.float32):
    """U(-1, 1) / sqrt(classes)."""
    return nn.initializers.uniform(2.0)(key, shape, dtype) / shape[1] ** 0.5 - shape[1] ** -0.5


class Block(nn.Module):
    """Pre-activation residual block; the shortcut averages and pads with zero channels, so it has no weights."""

    features: int
    stride: int
    norm: str
    activate_shortcut: bool = False
    dtype: object = None

    @nn.compact
    def __call__(self, x, embedding):
        activated = nn.relu(normalize(self.norm, x))
        h = conv3x3(self.features, self.stride, self.dtype)(activated)
        h = h + nn.Dense(self.features, dtype=self.dtype)(nn.swish(embedding))[:, None, None]
        h = conv3x3(self.features, dtype=self.dtype)(nn.relu(normalize(self.norm, h)))
        shortcut = activated if self.activate_shortcut else x
        if self.stride > 1:
            shortcut = average_pixels(shortcut)
        extra = self.features - shortcut.shape[-1]
        return jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (0, extra))) + h


def normalize(kind, x):
    """`group`: GroupNorm as in score_sde. `instance++`: InstanceNorm++ as in Score-SSL. Called inside a module."""
    return InstanceNormPlus()(x) if kind == "instance++" else group_norm(x.shape[-1], epsilon=1e-5)(x)


class WideResNet(nn.Module):
    """WRN-`depth`-`widen`; depth = 6 n + 4 for n blocks in each of the three groups (strides 1, 2, 2).

    With `patch`, the pixels of each patch enter as channels, and everything after runs on an image smaller by as much:
    at 2, four times cheaper.
    """

    num_classes: int
    depth: int = 28
    widen: int = 2
    norm: str = "group"
    denoised_input: bool = False
    embedding: int = 128
    dtype: object = None  # jnp.bfloat16 computes in it; parameters, normalisation, pooling and head stay in float32
    patch: int = 1

    @nn.compact
    def __call__(self, x, log_sigma, x_hat=None):
        embedding = NoiseEmbedding(self.embedding)(log_sigma)
        h = stem(16, self.denoised_input, x, x_hat, self.dtype, self.patch)
        blocks = (self.depth - 4) // 6
        for group, stride in enumerate((1, 2, 2)):
            for i in range(blocks):
                features = 16 * self.widen * 2**group
                first = group == 0 and i == 0
                h = Block(features, stride if i == 0 else 1, self.norm, first, self.dtype)(h, embedding)
        features = at_least_float32(nn.relu(normalize(self.norm, h))).mean((1, 2))
        return nn.Dense(self.num_classes, kernel_init=head_init)(features), features
