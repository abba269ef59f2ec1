"""Langevin dynamics of many samples, in which the two-moons study compares posterior scores."""

import jax
import jax.numpy as jnp

from scoressl_jax.sampling.loop import noise_for


def langevin(keys, score_fn, times, shape, step, swapped=False):
    """x + step^2 / 2 score + step z from x ~ N(0, I), once for each of `times [steps]`, `[B, *shape]`.

    keys `[B]`, one a sample (Chao et al. 2022, eq. 1). `swapped` is what the released program runs: the drift is
    sqrt(2 step) score, its coefficients of gradient and noise being exchanged, and does not lead to the density.
    """
    drift = jnp.sqrt(2 * step) if swapped else step**2 / 2

    def move(x, inputs):
        i, time = inputs
        z = noise_for(keys, 1 + i, shape)
        return x + drift * score_fn(x, jnp.full(x.shape[0], time)) + step * z, None

    x = noise_for(keys, 0, shape)
    return jax.lax.scan(move, x, (jnp.arange(len(times)), times))[0]
