"""Exact likelihoods by the instantaneous change of variables along the probability-flow ODE (Song et al. 2021, D.2)."""

import math

import jax
import jax.numpy as jnp

from scoressl_jax.sampling.ode import drift, solve

PROBE, DEQUANTISE = 1, 2  # tags of an image's key


def divergence_field(score_fn, sde, probes):
    """`((x, log_p), t) -> (dx/dt, divergence)`, from one forward and `P` backward passes of the network.

    probes `[P, B, ...]`: the divergence is the sum over probes v of v . J v. One random probe with entries +-1 has the
    right mean (Hutchinson); the D unit vectors make it exact.
    """

    def field(state, t):
        slope, pull = jax.vjp(lambda x: drift(score_fn, sde, x, t), state[0])
        terms = jax.lax.map(lambda v: (v * pull(v)[0]).reshape(v.shape[0], -1).sum(-1), probes)
        return slope, terms.sum(0)

    return field


def make_probes(keys, shape, divergence):
    if divergence == "exact":
        units = jnp.eye(math.prod(shape)).reshape(-1, 1, *shape)
        return jnp.broadcast_to(units, (len(units), len(keys), *shape))
    one = lambda key: jax.random.rademacher(jax.random.fold_in(key, PROBE), shape, jnp.float32)  # noqa: E731
    return jax.vmap(one)(keys)[None]


def log_density(keys, score_fn, sde, x, divergence="hutchinson", tolerance=1e-5):
    """Natural log of the density of images `x [B, ...]` under the ODE's model at sde.sampling_eps, `[B]`.

    keys `[B]`, one an image: the probe is the image's own and stays the same along its path.
    """
    shape, eps = x.shape[1:], sde.sampling_eps
    field = divergence_field(score_fn, sde, make_probes(keys, shape, divergence))
    (z, gained), _ = solve(field, (x, jnp.zeros(x.shape[0])), eps, 1.0, tolerance)
    z, std = z.reshape(z.shape[0], -1), sde.marginal(jnp.asarray(1.0))[1]
    prior = -0.5 * ((z / std) ** 2).sum(-1) - z.shape[-1] * (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
    return prior + gained


def bits_per_dim(keys, score_fn, sde, images, divergence="hutchinson", tolerance=1e-5):
    """Bits per dimension of images `uint8 [B, ...]`, `[B]`, an upper bound of their negative log-likelihood.

    Grey levels are made continuous by uniform noise, x = (image + u) / 256, drawn from each image's key.
    """
    draw = lambda key: jax.random.uniform(jax.random.fold_in(key, DEQUANTISE), images.shape[1:])  # noqa: E731
    x = (jnp.asarray(images, jnp.float32) + jax.vmap(draw)(keys)) / 256
    nats = log_density(keys, score_fn, sde, x, divergence, tolerance) / x[0].size
    return 8 - nats / jnp.log(2.0)
