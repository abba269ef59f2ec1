"""Predictor-corrector sampling of the reverse SDE (Song et al. 2021, algorithms 2 to 5).

The sampler knows a score function, the process and arrays; guidance is in the score function.
"""

import jax.numpy as jnp

from scoressl_jax import guidance
from scoressl_jax.sampling.loop import clean_or, posterior_step, reverse_process
from scoressl_jax.sde import expand

PREDICTORS = ("reverse_diffusion", "ancestral", "euler_maruyama", "none")
CORRECTORS = ("langevin", "annealed_langevin", "none")
NORMS = ("image", "batch")


def per_image_norm(x):
    """Euclidean norms `[B]` of x `[B, ...]`."""
    return jnp.sqrt((x.reshape(x.shape[0], -1) ** 2).sum(-1))


def predict(sde, score, x, t, dt, z, *, predictor):
    """One reverse step t -> t - dt of x `[B, ...]`, times `[B]`; (x, x_mean), x_mean without the step's noise.

    `ancestral` draws from the posterior of x_(t - dt) given x_t and the denoised image, for every process; the released
    code has it for VE, as here, and for VP with the variance beta in place of the posterior's, and lacks sub-VP.
    """
    if predictor == "none":
        return x, x
    if predictor == "ancestral":
        (alpha, std), (alpha_next, std_next) = sde.marginal(t), clean_or(sde, t - dt)
        denoised = guidance.denoised(x, score, expand(std, x)) / expand(alpha, x)
        sigma, sigma_next = expand(std / alpha, x), expand(std_next / alpha_next, x)
        found = posterior_step(denoised, x / expand(alpha, x), sigma, sigma_next, 1.0, z)
        return tuple(expand(alpha_next, x) * y for y in found)
    if predictor == "reverse_diffusion":
        f, g = sde.discretize(x, t, dt)
    else:
        f, g = sde.drift(x, t) * dt, sde.diffusion(t) * jnp.sqrt(dt)
    x_mean = x - f + expand(g, x) ** 2 * score
    return x_mean + expand(g, x) * z, x_mean


def correct(sde, score, x, t, dt, z, *, corrector, snr, norms="image"):
    """One Langevin step of x `[B, ...]` at times `[B]`, x + eps score + sqrt(2 eps) z.

    langevin: eps = 2 alpha (snr |z| / |score|)^2, with each image's own norms; norms="batch" takes the means over the
    batch as the released code does, which makes an image depend on its neighbours. |score| is that of the guided score,
    so strong guidance shortens the step. annealed_langevin: eps = 2 alpha (snr std)^2. alpha is 1 for VE, 1 - beta dt
    for VP and, where the released code fails, for sub-VP.
    """
    if corrector == "annealed_langevin":
        ratio = sde.marginal(t)[1]
    else:
        sizes = per_image_norm(z), per_image_norm(score)
        noise, slope = (size.mean() for size in sizes) if norms == "batch" else sizes
        ratio = noise / jnp.maximum(slope, 1e-12)
    eps = expand(2 * sde.langevin_alpha(t, dt) * (snr * ratio) ** 2, x)
    return x + eps * score + jnp.sqrt(2 * eps) * z


def moves_per_step(corrector, corrector_steps):
    """A step's corrections and its prediction."""
    return 1 + (0 if corrector == "none" else corrector_steps)


def predictor_corrector(
    keys,
    score_fn,
    sde,
    shape,
    *,
    steps,
    predictor="reverse_diffusion",
    corrector="langevin",
    snr=0.16,
    corrector_steps=1,
    norms="image",
    t_init=1.0,
    prior="gaussian",
    project=None,
    progress=None,
    trace=False,
):
    """Draw one image a key, `[B, *shape]`, from t_init to sde.sampling_eps in `steps` steps.

    Each step corrects `corrector_steps` times, then predicts (the order of the released code; paper algorithm 1 has it
    reversed). The last prediction is the denoised image: the released code makes one more step of length dt there,
    which for VP and sub-VP is nearly the same with 1,000 steps and ruins images with a few hundred. Values are not
    clipped.
    """
    dt = (t_init - sde.sampling_eps) / (steps - 1)
    per_step = moves_per_step(corrector, corrector_steps)
    t = jnp.repeat(jnp.linspace(t_init, sde.sampling_eps, steps), per_step)
    predicting = (jnp.arange(len(t)) + 1) % per_step == 0
    t_next = jnp.where(predicting, t - dt, t).at[-1].set(0.0)
    moves = {"t": t, "t_next": t_next, "predicting": predicting}

    def move(x, score, z, step, memory):
        times = jnp.full(x.shape[0], step["t"])
        new, mean = predict(sde, score, x, times, dt, z, predictor=predictor)
        if predictor != "none":
            alpha, std = sde.marginal(step["t"])
            mean = jnp.where(step["t_next"] > 0, mean, guidance.denoised(x, score, std) / alpha)
        if per_step > 1:
            corrected = correct(sde, score, x, times, dt, z, corrector=corrector, snr=snr, norms=norms)
            new, mean = (jnp.where(step["predicting"], y, corrected) for y in (new, mean))
        return new, mean, memory

    options = dict(prior=prior, project=project, progress=progress, trace=trace)
    return reverse_process(keys, score_fn, sde, shape, moves, move, **options)
