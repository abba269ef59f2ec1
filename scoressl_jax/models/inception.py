"""Inception-v3 (Szegedy et al. 2016) as the graph `inception-2015-12-05`, the network that defines FID.

Its layers carry the names that torchvision gave them, which the converted weights have too (importers/inception.py).
Batch normalisation is folded into the convolutions, so parameters are kernels and biases alone. The graph differs from
torchvision's network in three ways: average pools do not count the padding, the last block pools by the maximum, and
there are 1,008 outputs.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.errors import UserError

SIZE = 299
OUTPUTS = 1008
SPATIAL_CHANNELS = 7  # of 192: 7 x 17 x 17 = 2023 values, about as many as pool has (Nash et al. 2021, sFID)
# Float32 products everywhere: by themselves accelerators round to bfloat16 or TF32, and figures would depend on it.
PRECISION = jax.lax.Precision.HIGHEST


class Features(NamedTuple):
    """What metrics take from the network; sizes are those of 299x299 images."""

    pool: jax.Array  # [B, 2048], graph node pool_3: FID, KID, precision and recall
    logits: jax.Array  # [B, 1008], without the bias of the last layer: the inception score is defined so
    spatial: jax.Array  # [B, 2023], the first channels of graph node mixed_6/conv: sFID


class Conv(NamedTuple):
    """A convolution, batch normalisation (folded in) and ReLU; called inside a module, as layer `name` of it."""

    features: int
    kernel: int | tuple = 1
    stride: int = 1
    padding: str | None = None  # SAME at stride 1, VALID at stride 2

    def __call__(self, name, x):
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)
        padding = self.padding or ("SAME" if self.stride == 1 else "VALID")
        return nn.relu(nn.Conv(self.features, kernel, self.stride, padding, precision=PRECISION, name=name)(x))


class Fork(NamedTuple):
    """Two convolutions of the same input, side by side; their names end in a and b."""

    a: Conv
    b: Conv

    def __call__(self, name, x):
        return jnp.concatenate([self.a(f"{name}a", x), self.b(f"{name}b", x)], -1)


average_pool = partial(nn.avg_pool, window_shape=(3, 3), padding="SAME", count_include_pad=False)
max_pool = partial(nn.max_pool, window_shape=(3, 3), padding="SAME")
halve = partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))

STEM = {
    "Conv2d_1a_3x3": Conv(32, 3, stride=2),
    "Conv2d_2a_3x3": Conv(32, 3, padding="VALID"),
    "Conv2d_2b_3x3": Conv(64, 3),
    "maxpool1": halve,
    "Conv2d_3b_1x1": Conv(80),
    "Conv2d_4a_3x3": Conv(192, 3, padding="VALID"),
    "maxpool2": halve,
}


def mixed_35x35(pooled):
    return {
        "branch1x1": (Conv(64),),
        "branch5x5": (Conv(48), Conv(64, 5)),
        "branch3x3dbl": (Conv(64), Conv(96, 3), Conv(96, 3)),
        "branch_pool": (average_pool, Conv(pooled)),
    }


def mixed_17x17(c):
    return {
        "branch1x1": (Conv(192),),
        "branch7x7": (Conv(c), Conv(c, (1, 7)), Conv(192, (7, 1))),
        "branch7x7dbl": (Conv(c), Conv(c, (7, 1)), Conv(c, (1, 7)), Conv(c, (7, 1)), Conv(192, (1, 7))),
        "branch_pool": (average_pool, Conv(192)),
    }


def mixed_8x8(pool):
    fork = Fork(Conv(384, (1, 3)), Conv(384, (3, 1)))
    return {
        "branch1x1": (Conv(320),),
        "branch3x3": (Conv(384), fork),
        "branch3x3dbl": (Conv(448), Conv(384, 3), fork),
        "branch_pool": (pool, Conv(192)),
    }


MIXED = {
    "Mixed_5b": mixed_35x35(32),
    "Mixed_5c": mixed_35x35(64),
    "Mixed_5d": mixed_35x35(64),
    "Mixed_6a": {
        "branch3x3": (Conv(384, 3, stride=2),),
        "branch3x3dbl": (Conv(64), Conv(96, 3), Conv(96, 3, stride=2)),
        "branch_pool": (halve,),
    },
    "Mixed_6b": mixed_17x17(128),
    "Mixed_6c": mixed_17x17(160),
    "Mixed_6d": mixed_17x17(160),
    "Mixed_6e": mixed_17x17(192),
    "Mixed_7a": {
        "branch3x3": (Conv(192), Conv(320, 3, stride=2)),
        "branch7x7x3": (Conv(192), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2)),
        "branch_pool": (halve,),
    },
    "Mixed_7b": mixed_8x8(average_pool),
    "Mixed_7c": mixed_8x8(max_pool),
}


class Mixed(nn.Module):
    """The outputs of several branches of the same input, side by side."""

    branches: dict

    @nn.compact
    def __call__(self, x):
        return jnp.concatenate([along(name, layers, x) for name, layers in self.branches.items()], -1)


def along(name, layers, x):
    """x through a branch, whose convolutions are numbered from 1 if there are several. Called inside a module."""
    several, number = sum(isinstance(layer, Conv | Fork) for layer in layers) > 1, 0
    for layer in layers:
        if isinstance(layer, Conv | Fork):
            number += 1
            x = layer(f"{name}_{number}" if several else name, x)
        else:
            x = layer(x)
    return x


class Inception(nn.Module):
    """In: `x [B, H, W, 3]` from `prepare`, at least 75 x 75. Out: Features."""

    @nn.compact
    def __call__(self, x):
        for name, layer in STEM.items():
            x = layer(name, x) if isinstance(layer, Conv) else layer(x)
        for name, branches in MIXED.items():
            x = Mixed(branches, name=name)(x)
            if name == "Mixed_6d":
                # The graph's mixed_6 is this block: torch-fidelity converts mixed_6/conv to Mixed_6d.branch1x1, the
                # first of the branches. The node of that name is the layer's output, after normalisation and ReLU.
                spatial = x[..., :SPATIAL_CHANNELS].reshape(len(x), -1)
        pool = x.mean((1, 2))
        logits = nn.Dense(OUTPUTS, use_bias=False, precision=PRECISION, name="fc")(pool)
        return Features(pool, logits, spatial)


def prepare(images, size=SIZE):
    """Images `[B, H, W, 1 or 3]` in 0 .. 255, uint8 or float, as the network takes them: `[B, size, size, 3]`, float32
    in [-1, 1). Grey is repeated. Raises UserError for other shapes."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        shape = ", ".join(map(str, images.shape[1:]))
        raise UserError(f"images are [N, {shape}]: Inception takes [N, height, width, 1 or 3]")
    images = jnp.broadcast_to(images, (*images.shape[:3], 3))
    return (resize(images.astype(jnp.float32), size) - 128) / 128


def resize(x, size):
    """Bilinear, `x [B, H, W, C]` -> `[B, size, size, C]`, as TensorFlow 1 has it with align_corners=False: pixel i of
    the result lies at i H / size, without half-pixel centres, and nothing is averaged when images get smaller."""
    for axis in (2, 1):
        length = x.shape[axis]
        at = np.arange(size, dtype=np.float32) * np.float32(length / size)
        low = at.astype(int)
        fraction = np.expand_dims(at - low.astype(np.float32), [i for i in range(4) if i != axis])
        first, second = jnp.take(x, low, axis), jnp.take(x, np.minimum(low + 1, length - 1), axis)
        x = first + (second - first) * fraction
    return x
