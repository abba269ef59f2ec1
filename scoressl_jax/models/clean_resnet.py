"""A WideResNet of clean images, with batch normalisation: what methods for few labels train.

In: `x [B, H, W, C]` in [0, 1]. Out: `(logits [B, classes], features [B, 64 widen])`, the penultimate layer.

Batch normalisation has no running averages, so the training state is the parameters alone: a batch is normalised by
itself unless statistics are given. `statistics` takes them from images once, with the weights that are to be used.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from scoressl_jax.models.layers import at_least_float32, average_pixels, pixels_to_channels
from scoressl_jax.models.wide_resnet import conv3x3, head_init

STATISTICS = "batch_stats"


class BatchNorm(nn.Module):
    """Normalises channels by the mean and variance of the batch or, where the variables hold statistics, by these."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if self.has_variable(STATISTICS, "mean"):
            mean, variance = (self.get_variable(STATISTICS, name) for name in ("mean", "variance"))
        else:
            h = at_least_float32(x).reshape(-1, channels)
            mean = h.mean(0)
            variance = jnp.maximum((h**2).mean(0) - mean**2, 0)
            if self.is_mutable_collection(STATISTICS) and not self.is_initializing():
                self.put_variable(STATISTICS, "mean", mean)
                self.put_variable(STATISTICS, "variance", variance)
        gain = jax.lax.rsqrt(variance + self.epsilon) * scale
        return (x * gain + (bias - mean * gain)).astype(x.dtype)


def activated(x):
    """Batch normalisation and the methods' usual leaky ReLU. Called inside a module."""
    return nn.leaky_relu(BatchNorm()(x), 0.1)


class CleanResNet(nn.Module):
    """WRN-`depth`-`widen` without a noise level; depth = 6 n + 4. `patch` as of WideResNet."""

    num_classes: int
    depth: int = 10
    widen: int = 1
    patch: int = 1
    dtype: object = None  # as of WideResNet

    @nn.compact
    def __call__(self, x):
        h = conv3x3(16, dtype=self.dtype)(pixels_to_channels(2 * x - 1, self.patch))
        for group, stride in enumerate((1, 2, 2)):
            for i in range((self.depth - 4) // 6):
                h = self.block(h, 16 * self.widen * 2**group, stride if i == 0 else 1, group == 0 and i == 0)
        features = at_least_float32(activated(h)).mean((1, 2))
        return nn.Dense(self.num_classes, kernel_init=head_init)(features), features

    def block(self, x, features, stride, first):
        """Pre-activation residual block; the shortcut averages and pads with zero channels."""
        before = activated(x)
        h = conv3x3(features, stride, self.dtype)(before)
        h = conv3x3(features, dtype=self.dtype)(activated(h))
        shortcut = before if first else x
        if stride > 1:
            shortcut = average_pixels(shortcut)
        return jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (0, features - shortcut.shape[-1]))) + h


def applied(network: CleanResNet, params, statistics=None) -> Callable:
    """`x -> (logits, features)`; params as `init` returns them, statistics as below, None: of each batch itself. Other
    networks may take a `key`, and have more than one `method`."""
    variables = params if statistics is None else {**params, STATISTICS: statistics}
    return lambda x, **options: network.apply(variables, x, **options)


def statistics(network: CleanResNet, params, x):
    """Means and variances of every layer on the images `x [N, H, W, C]`, by which other images are normalised."""
    return network.apply(params, x, mutable=[STATISTICS])[1].get(STATISTICS, {})
