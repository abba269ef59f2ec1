"""Samplers of tens of network calls: DDIM, DPM-Solver++ (2M) and Heun's method, for VE, VP and sub-VP alike.

All three see the image divided by alpha and the noise level sigma = std / alpha, in which coordinates the processes
differ in nothing but the levels that they pass through, and the denoised image D = x_0 expected. They go down a ladder
of levels from t_init to the sampling eps and from there to the clean image.
"""

import jax.numpy as jnp

from scoressl_jax import guidance
from scoressl_jax.sampling.loop import clean_or, posterior_step, reverse_process

SOLVERS = ("ddim", "dpm_solver", "heun")
SCHEDULES = ("time", "log_sigma", "karras")
KARRAS_RHO = 7


def ladder(sde, steps, *, schedule="karras", t_init=1.0):
    """Times `[steps + 1]` from t_init to sde.sampling_eps, then 0.

    time: evenly spaced, which respaces a chain of many steps; log_sigma: log(std / alpha) evenly spaced; karras:
    sigma^(1 / 7) evenly spaced (Karras et al. 2022, eq. 5), which spends more steps on little noise.
    """
    ends = jnp.asarray([t_init, sde.sampling_eps])
    if schedule == "time":
        t = jnp.linspace(*ends, steps)
    elif schedule == "log_sigma":
        t = sde.time_of_log_sigma(jnp.linspace(*sde.log_sigma(ends), steps))
    else:
        root = jnp.linspace(*jnp.exp(sde.log_sigma(ends) / KARRAS_RHO), steps)
        t = sde.time_of_log_sigma(KARRAS_RHO * jnp.log(root))
    t = t.at[0].set(ends[0]).at[-1].set(ends[1])  # free of the inverse's rounding
    return jnp.append(t, 0.0)


def calls(solver, steps):
    """Network calls an image."""
    return 2 * steps - 1 if solver == "heun" else steps


def multistep_weights(sigma):
    """Weights `[steps]` of D - D_previous in DPM-Solver++ 2M: h_i / (2 h_(i - 1)) with h the steps in log sigma, 0 for
    the first step and the last, which ends at sigma = 0 (Lu et al. 2022, "DPM-Solver++", algorithm 2)."""
    h = -jnp.diff(jnp.log(sigma[:-1]))
    return jnp.zeros(len(sigma) - 1).at[1:-1].set(h[1:] / (2 * h[:-1]))


def few_steps(
    keys,
    score_fn,
    sde,
    shape,
    *,
    steps,
    solver="dpm_solver",
    schedule="karras",
    eta=0.0,
    clip=False,
    t_init=1.0,
    prior="gaussian",
    project=None,
    progress=None,
    trace=False,
):
    """Draw one image a key, `[B, *shape]`, in `steps` steps of `solver`; values are not clipped unless asked for.

    eta: noise of ddim, 0 (deterministic) to 1 (ancestral); the others are deterministic. clip: keep the denoised image
    in [0, 1] at every step. It is the guided one that is clipped; guided-diffusion clips before guidance and lets the
    guided one leave the range.
    """
    times = ladder(sde, steps, schedule=schedule, t_init=t_init)
    alpha, std = clean_or(sde, times)
    sigma = std / alpha
    rungs = {"t": times, "alpha": alpha, "std": std, "sigma": sigma}
    moves = {name: values[:-1] for name, values in rungs.items()}
    moves |= {f"{name}_next": values[1:] for name, values in rungs.items()}
    moves["weight"] = multistep_weights(sigma)

    def denoised(x, score, step):
        d = guidance.denoised(x, score, step["std"]) / step["alpha"]
        return jnp.clip(d, 0, 1) if clip else d

    def ddim(x, score, z, step, memory):
        found = posterior_step(
            denoised(x, score, step), x / step["alpha"], step["sigma"], step["sigma_next"], eta, z
        )
        return *(step["alpha_next"] * y for y in found), memory

    def dpm_solver(x, score, z, step, memory):
        d, (d_before,) = denoised(x, score, step), memory
        target = d + step["weight"] * (d - d_before)
        x = target + step["sigma_next"] / step["sigma"] * (x / step["alpha"] - target)
        return step["alpha_next"] * x, step["alpha_next"] * x, (d,)

    def heun(x, score, z, step, memory):
        # An Euler step remembers where it began; the next move averages the slopes at both of its ends.
        (start, slope_at_start), here = memory, x / step["alpha"]
        slope = (here - denoised(x, score, step)) / step["sigma"]
        euler, corrected = here + step["h"] * slope, start + step["h"] * (slope_at_start + slope) / 2
        new = step["alpha_next"] * jnp.where(step["correcting"], corrected, euler)
        return new, new, (here, slope)

    if solver == "heun":
        moves = heun_moves(moves)
    move, memory = {"ddim": (ddim, 0), "dpm_solver": (dpm_solver, 1), "heun": (heun, 2)}[solver]
    options = dict(prior=prior, project=project, progress=progress, trace=trace)
    return reverse_process(keys, score_fn, sde, shape, moves, move, memory=memory, **options)


def heun_moves(steps):
    """Arrays `[N]` of a ladder's steps -> `[2 N - 1]`: Euler steps, each then corrected at the level it arrived at; the
    last step, to the clean image, goes without (Karras et al. 2022, algorithm 1)."""
    h = steps["sigma_next"] - steps["sigma"]
    correcting = jnp.arange(2 * len(h) - 1) % 2 == 1
    moves = {"h": jnp.repeat(h, 2)[:-1], "correcting": correcting}
    for name in ("t", "alpha", "std", "sigma"):
        arrived = jnp.repeat(steps[f"{name}_next"], 2)[:-1]
        moves[f"{name}_next"] = arrived
        moves[name] = jnp.where(correcting, arrived, jnp.repeat(steps[name], 2)[:-1])
    return moves
