"""Exact likelihoods by the instantaneous change of variables along the probability-flow ODE (Song et al. 2021, D.2)."""

import math

import jax
import jax.numpy as jnp

from scoressl_jax.sampling.ode import drift, solve

PROBE, DEQUANTISE = 1, 2  # tags of an image's key


def divergence_field(score_fn, sde, probe):
    """`((x, log_p), t) -> (dx/dt, divergence)`, from one forward pass of the network and one backward.

    probe `[B, ...]` of entries +-1: v . J v has the right mean (Hutchinson). None: the exact divergence, from as many
    backward passes as an image has numbers.
    """

    def field(state, t):
        slope, pull = jax.vjp(lambda x: drift(score_fn, sde, x, t), state[0])
        along = lambda v: (v * pull(v)[0]).reshape(v.shape[0], -1).sum(-1)  # noqa: E731
        if probe is not None:
            return slope, along(probe)
        size = math.prod(slope.shape[1:])
        unit = lambda i: jnp.broadcast_to(jax.nn.one_hot(i, size).reshape(slope.shape[1:]), slope.shape)  # noqa: E731
        return slope, jax.lax.fori_loop(0, size, lambda i, total: total + along(unit(i)), jnp.zeros(len(slope)))

    return field


def random_probe(keys, shape):
    """Entries +-1, `[B, *shape]`, image i's from its own key."""
    one = lambda key: jax.random.rademacher(jax.random.fold_in(key, PROBE), shape, jnp.float32)  # noqa: E731
    return jax.vmap(one)(keys)


def log_density(keys, score_fn, sde, x, *, divergence="hutchinson", tolerance=1e-5):
    """Natural log of the density of images `x [B, ...]` under the ODE's model at sde.sampling_eps, `[B]`.

    keys `[B]`, one an image: the probe is the image's own and stays the same along its path.
    """
    shape, eps = x.shape[1:], sde.sampling_eps
    field = divergence_field(score_fn, sde, random_probe(keys, shape) if divergence == "hutchinson" else None)
    (z, gained), _ = solve(field, (x, jnp.zeros(x.shape[0])), eps, 1.0, tolerance=tolerance)
    z, std = z.reshape(z.shape[0], -1), sde.marginal(jnp.asarray(1.0))[1]
    prior = -0.5 * ((z / std) ** 2).sum(-1) - z.shape[-1] * (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
    return prior + gained


def bits_per_dim(keys, score_fn, sde, images, *, divergence="hutchinson", tolerance=1e-5):
    """Bits per dimension of images `uint8 [B, ...]`, `[B]`; its mean over probes and u bounds -log2 p from above.

    Grey levels are made continuous by uniform noise, x = (image + u) / 256, drawn from each image's key.
    """
    draw = lambda key: jax.random.uniform(jax.random.fold_in(key, DEQUANTISE), images.shape[1:])  # noqa: E731
    x = (jnp.asarray(images, jnp.float32) + jax.vmap(draw)(keys)) / 256
    nats = log_density(keys, score_fn, sde, x, divergence=divergence, tolerance=tolerance) / x[0].size
    return 8 - nats / jnp.log(2.0)
