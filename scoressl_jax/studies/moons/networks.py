"""Networks of the two-moons study: those of the released program, and ours, which are no larger.

A score network is `(x [B, 2], log_sigma [B]) -> score [B, 2]`, a classifier `(x, log_sigma) -> (logits [B, 2],
features)`, as everywhere.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from scoressl_jax.studies.moons.relu import relu_network


def linear(module, name, size_in, size_out):
    """Weights `[in, out]` and bias `[out]`, both uniform in +-1/sqrt(size_in), as PyTorch draws them."""
    bound = size_in**-0.5
    init = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)  # noqa: E731
    return module.param(f"{name}_w", init, (size_in, size_out)), module.param(f"{name}_b", init, (size_out,))


def published_layers(module, log_sigma, output):
    """The layers of both networks of the released program (dlsm-toy, models/simple_*_fn.py), 44,818 parameters.

    A branch for x (2 -> 256 -> 128 -> 64) and one for raw sigma (1 -> 64 -> 32 -> 16), ReLU between but none after
    their last layers, joined by one linear layer to two outputs, which `output` maps (from its `[80, 2]` and `[2]`
    parameters). No ReLU follows the joint: the outputs are a function of x plus a function of sigma, and the noise
    level only shifts them. Linear layers that meet are multiplied out before they see the batch.

    Returns parameters (W1, b1, W2, b2, V) of V' relu(W2' relu(W1' x + b1) + b2), and what is added to it, `[B, ...]`.
    """
    x1, x2, x3 = (linear(module, f"x{i}", *size) for i, size in enumerate(((2, 256), (256, 128), (128, 64)), 1))
    s1, s2, s3 = (linear(module, f"sigma{i}", *size) for i, size in enumerate(((1, 64), (64, 32), (32, 16)), 1))
    w, b = (output(part) for part in linear(module, "out", 80, 2))
    h = jax.nn.relu(jnp.exp(log_sigma)[:, None] @ s1[0] + s1[1])
    h = jax.nn.relu(h @ s2[0] + s2[1])
    shift = h @ (s3[0] @ w[64:]) + (x3[1] @ w[:64] + s3[1] @ w[64:] + b)
    return (*x1, *x2, x3[0] @ w[:64]), shift


class PublishedScore(nn.Module):
    """The released score network, without any scaling of input or output."""

    @nn.compact
    def __call__(self, x, log_sigma):
        (w1, b1, w2, b2, v), shift = published_layers(self, log_sigma, lambda part: part)
        return jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2) @ v + shift


class PublishedClassifier(nn.Module):
    """The released classifier. Only the difference of its two logits matters to any loss: it returns minus half of it,
    and half of it."""

    @nn.compact
    def __call__(self, x, log_sigma):
        params, shift = published_layers(self, log_sigma, lambda part: (part[..., 1] - part[..., 0]) / 2)
        half = relu_network(params, x) + shift
        return jnp.stack([-half, half], -1), half[:, None]


class Body(nn.Module):
    """Scaled points `[B, 2]` and log_sigma `[B]` -> `[B, 2]`: three swish layers of `width` units, 4,994 parameters at
    width 48 and 2,306 at 32. Outputs start small."""

    width: int

    @nn.compact
    def __call__(self, u, log_sigma):
        h = jnp.concatenate([u, (log_sigma[:, None] - 1) / 2], axis=-1)
        for _ in range(3):
            h = nn.swish(nn.Dense(self.width)(h))
        return nn.Dense(2, kernel_init=nn.initializers.variance_scaling(0.01, "fan_in", "normal"))(h)


class ScaledScore(nn.Module):
    """Our score network: the score of Gaussian data with mean 0 and standard deviations `std`, plus a correction of
    unit size, as `gaussian` in models/scaling.py has it for images."""

    std: tuple
    width: int = 48

    @nn.compact
    def __call__(self, x, log_sigma):
        sigma, std = jnp.exp(log_sigma)[:, None], jnp.asarray(self.std)
        scale = jnp.sqrt(sigma**2 + std**2)
        return Body(self.width)(x / scale, log_sigma) * std / (sigma * scale) - x / scale**2


class ScaledClassifier(nn.Module):
    """Our classifier. A log likelihood ratio of points some 15 apart grows as 15^2 / sigma^2 for large sigma, slower
    where sigma is below the thickness of what separates the classes: logits are scaled so."""

    std: tuple
    width: int = 32

    @nn.compact
    def __call__(self, x, log_sigma):
        sigma = jnp.exp(log_sigma)[:, None]
        h = Body(self.width)(x / jnp.sqrt(sigma**2 + jnp.asarray(self.std) ** 2), log_sigma)
        return h * 15**2 / (sigma * jnp.sqrt(sigma**2 + 5**2)), h
