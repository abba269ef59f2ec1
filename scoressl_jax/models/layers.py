"""Layers that several networks share: noise-level embeddings, normalisation, FIR resampling, initialisers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def default_init(scale=1.0):
    """score_sde's initialiser: uniform, fan average; a scale of 0 becomes 1e-10."""
    return nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


class FourierEmbedding(nn.Module):
    """Random Fourier features of the log noise level, `[B] -> [B, 2 size]`; the frequencies are not trained."""

    size: int = 128
    scale: float = 16.0

    @nn.compact
    def __call__(self, log_sigma):
        w = self.param("W", nn.initializers.normal(self.scale), (self.size,))
        angle = 2 * jnp.pi * log_sigma[:, None] * jax.lax.stop_gradient(w)[None]
        return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def positional_embedding(level, size):
    """Sines, then cosines, of a number at `size / 2` frequencies from 1 down to 1e-4, `[B] -> [B, size]` (DDPM)."""
    half = size // 2
    angle = level[:, None] * jnp.asarray(np.geomspace(1, 1e-4, half), level.dtype)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Embedding of the noise level for blocks, `[B] -> [B, 4 size]`: features, Dense, swish, Dense. Features are
    `fourier` (of the log noise level) or `positional` (of a number up to 999)."""

    size: int = 128
    scale: float = 16.0
    kind: str = "fourier"

    @nn.compact
    def __call__(self, level):
        if self.kind == "positional":
            h = positional_embedding(level, self.size)
        else:
            h = FourierEmbedding(self.size, self.scale)(level)
        h = nn.Dense(4 * self.size, kernel_init=default_init())(h)
        return nn.Dense(4 * self.size, kernel_init=default_init())(nn.swish(h))


def at_least_float32(x):
    """`x`, where it is bfloat16 as float32, in which every sum over pixels, channels or keys is taken."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class GroupNorm(nn.Module):
    """Group normalisation of `[B, ..., C]`, parameters and results as flax's, from per-channel sums and one small
    product that adds them by group: flax's grouped axes keep XLA's CPU code from vectorising (1.75x a score call)."""

    groups: int
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        h = at_least_float32(x).reshape(x.shape[0], -1, channels)
        size = channels // self.groups
        by_group = np.kron(np.eye(self.groups), np.full((size, size), 1 / (h.shape[1] * size)))
        by_group = jnp.asarray(by_group, h.dtype)
        mean = h.sum(1) @ by_group
        variance = jnp.maximum((h**2).sum(1) @ by_group - mean**2, 0)
        gain = jax.lax.rsqrt(variance + self.epsilon) * scale
        return (h * gain[:, None] + (bias - mean * gain)[:, None]).reshape(x.shape).astype(x.dtype)


def groups_of(channels):
    """score_sde's number of groups, a quarter of the channels up to 32, or the largest below it that divides them."""
    return max(n for n in range(1, max(1, min(channels // 4, 32)) + 1) if channels % n == 0)


def group_norm(channels, epsilon=1e-6):
    """GroupNorm for any number of channels."""
    return GroupNorm(groups_of(channels), epsilon)


class InstanceNormPlus(nn.Module):
    """InstanceNorm++ (Song and Ermon 2019, A.1): instance normalisation plus the normalised channel means.

    With mu_c the spatial mean of channel c, and m, v mean and variance of mu over channels:
    y = gamma ((x - mu) / sqrt(var + 1e-5) + alpha (mu - m) / sqrt(v + 1e-5)) + beta. Input and output `[B, H, W, C]`.
    """

    @nn.compact
    def __call__(self, x):
        shape = (1, 1, 1, x.shape[-1])
        alpha = self.param("alpha", lambda key, s: 1 + 0.02 * jax.random.normal(key, s), shape)
        gamma = self.param("gamma", lambda key, s: 1 + 0.02 * jax.random.normal(key, s), shape)
        beta = self.param("beta", nn.initializers.zeros, shape)
        mu = at_least_float32(x).mean((1, 2), keepdims=True)
        centred = at_least_float32(x) - mu
        h = centred * jax.lax.rsqrt((centred**2).mean((1, 2), keepdims=True) + 1e-5)
        offset = mu - mu.mean(-1, keepdims=True)
        h = h + alpha * offset * jax.lax.rsqrt((offset**2).mean(-1, keepdims=True) + 1e-5)
        return (gamma * h + beta).astype(x.dtype)


FIR = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] normalised


def fir_matrix(size, pad, up=1, down=1):
    """One axis of StyleGAN2's upfirdn as a matrix `[out, size]`: `up - 1` zeros after each pixel, zero padding
    (low, high), FIR with gain `up`, then every `down`-th pixel. As a product it is as fast backwards, at any order."""
    spread = np.zeros((size * up, size))
    spread[::up] = np.eye(size)
    padded = np.pad(spread, (pad, (0, 0)))
    length = len(padded) - len(FIR) + 1
    return up * sum(c * padded[i : i + length] for i, c in enumerate(FIR))[::down]


def resample_fir(x, pad, up=1, down=1):
    """upfirdn on height and width of `[B, H, W, C]`."""
    rows, columns = (jnp.asarray(fir_matrix(size, pad, up, down), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("pw,bhwc->bhpc", columns, jnp.einsum("ph,bhwc->bpwc", rows, x))


def upsample_fir(x):
    """Double height and width: zeros between the pixels, then FIR with gain 2 an axis."""
    return resample_fir(x, (2, 1), up=2)


def downsample_fir(x):
    """Halve height and width: FIR, then every second pixel."""
    return resample_fir(x, (1, 1), down=2)


def repeat_pixels(x):
    """Double height and width of `[B, H, W, C]` by repeating pixels."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def average_pixels(x):
    """Halve height and width of `[B, H, W, C]`, rounded up, by averaging two by two pixels; an odd last row or column
    is averaged by itself."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), mode="edge")
    b, height, width, c = x.shape
    return at_least_float32(x).reshape(b, height // 2, 2, width // 2, 2, c).mean((2, 4)).astype(x.dtype)


def pixels_to_channels(x, patch):
    """`[B, H, W, C] -> [B, H / patch, W / patch, patch^2 C]`: the pixels of each patch become channels, row by row."""
    b, height, width, c = x.shape
    x = x.reshape(b, height // patch, patch, width // patch, patch, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, height // patch, width // patch, patch**2 * c)


def channels_to_pixels(x, patch):
    """The inverse of pixels_to_channels."""
    b, height, width, c = x.shape
    x = x.reshape(b, height, width, patch, patch, c // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, height * patch, width * patch, c // patch**2)


def standardize(x):
    """Per-image (x - mean) / max(std, 1 / sqrt(N)) over an image's N values, as score_sde's classifier does first."""
    axes = tuple(range(1, x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    variance = (centred**2).mean(axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.maximum(variance, 1 / x[0].size))
