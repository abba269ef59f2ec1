"""The probability-flow ODE (Song et al. 2021, eq. 13) with adaptive steps: sampling and encoding.

Every image has its own steps and error control, so its result does not depend on the batch; the released code controls
the error of the whole batch as one vector. The score function is called for all images together nevertheless.
"""

import diffrax
import equinox
import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from scoressl_jax.guidance import denoise
from scoressl_jax.sampling.loop import draw_prior
from scoressl_jax.sde import expand

MAX_STEPS = 10_000


def solve(field, y, t_start, t_end, *, tolerance):
    """Integrate dy/dt = field(y, t) from t_start to t_end; y is a pytree of `[B, ...]`, and so is what `field` returns
    for it and times `[B]`.

    Fifth-order Runge-Kutta steps (Tsitouras 2011), each image's own, as long as `tolerance`, relative and absolute,
    allows. Returns (y, calls of the field that each image needed `[B]`); one that needs over MAX_STEPS steps is NaN.
    """

    # The solver is mapped over images; this makes it call the field, which takes a batch, with all of them. What the
    # field closes over, parameters for one, has to reach it as an argument through the solver's own compilation.
    converted = equinox.filter_closure_convert(field, y, jnp.zeros(len(jax.tree.leaves(y)[0])))
    held, program = equinox.partition(converted, equinox.is_array)

    @custom_vmap
    def of_one(held, y, t):
        return y  # stands for the field's shapes: outside the map below it is never called

    @of_one.def_vmap
    def of_all(size, batched, held, y, t):
        found = equinox.combine(held, program)(y, t if batched[2] else jnp.full(size, t))
        return found, jax.tree.map(lambda _: True, found)

    @jax.vmap
    def integrate(y):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, held: of_one(held, y, t)),
            diffrax.Tsit5(),
            t_start,
            t_end,
            None,
            y,
            args=held,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=largest_rms),
            max_steps=MAX_STEPS,
            throw=False,
        )
        done = solution.result == diffrax.RESULTS.successful
        end = jax.tree.map(lambda leaf: jnp.where(done, leaf[-1], jnp.nan), solution.ys)
        return end, 6 * solution.stats["num_steps"] + 2  # six stages a step; the start takes two

    return integrate(y)


def largest_rms(error):
    """The norm by which steps are chosen: the largest root mean square of the leaves, so that a log density, a number,
    weighs as much as all pixels together."""
    return jnp.stack([jnp.sqrt((leaf**2).mean()) for leaf in jax.tree.leaves(error)]).max()


def drift(score_fn, sde, x, t):
    """dx/dt of the probability-flow ODE, f(x, t) - g(t)^2 score / 2, `[B, ...]`; t `[B]`."""
    return sde.drift(x, t) - 0.5 * expand(sde.diffusion(t), x) ** 2 * score_fn(x, t)


def flow(score_fn, sde, x, t_start, t_end, *, tolerance):
    """Carry images `[B, ...]` along the ODE: from sde.sampling_eps to 1 encodes, from 1 to sde.sampling_eps decodes.

    Returns (x, network calls an image `[B]`).
    """
    return solve(lambda x, t: drift(score_fn, sde, x, t), x, t_start, t_end, tolerance=tolerance)


def ode_sampler(keys, score_fn, sde, shape, *, tolerance=1e-4, t_init=1.0, prior="gaussian"):
    """Draw one image a key, `[B, *shape]`: the ODE down to sde.sampling_eps, and the denoised image there."""
    x, _ = flow(
        score_fn, sde, draw_prior(keys, sde, shape, t_init, prior), t_init, sde.sampling_eps, tolerance=tolerance
    )
    end = jnp.full(x.shape[0], sde.sampling_eps)
    return denoise(sde, score_fn, x, end) / expand(sde.marginal(end)[0], x)
