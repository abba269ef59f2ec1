"""Predictor-corrector sampling of the reverse SDE (Song et al. 2021, algorithms 2 to 5) as one `lax.scan`.

The sampler knows a score function, the process and arrays; guidance is in the score function. Every image has a key
of its own and Langevin steps use the image's own norms, so an image does not depend on its batch.
"""

import jax
import jax.numpy as jnp

from scoressl_jax.sde import expand

PREDICTORS = ("reverse_diffusion", "euler_maruyama", "none")
CORRECTORS = ("langevin", "none")


def image_keys(key, start, count):
    """One key an image: fold_in(key, image index), `[count]`."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(count))


def noise_for(keys, tag, shape):
    """Standard normal noise `[B, *shape]`, image i's from its own key and `tag`."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, tag), shape))(keys)


def per_image_norm(x):
    return jnp.sqrt((x.reshape(x.shape[0], -1) ** 2).sum(-1))


def predict(sde, score, x, t, dt, z, predictor):
    """One reverse step t -> t - dt; returns (x, x_mean), x_mean without the step's noise."""
    if predictor == "none":
        return x, x
    if predictor == "reverse_diffusion":
        f, g = sde.discretize(x, t, dt)
    else:
        f, g = sde.drift(x, t) * dt, sde.diffusion(t) * jnp.sqrt(dt)
    x_mean = x - f + expand(g, x) ** 2 * score
    return x_mean + expand(g, x) * z, x_mean


def correct(sde, score, x, t, dt, z, snr):
    """One Langevin step of size eps = 2 alpha (snr |z| / |score|)^2, norms taken image by image.

    The released code averages the norms over the batch instead, which makes images depend on their neighbours.
    """
    ratio = per_image_norm(z) / jnp.maximum(per_image_norm(score), 1e-12)
    eps = expand(2 * sde.langevin_alpha(t, dt) * (snr * ratio) ** 2, x)
    return x + eps * score + jnp.sqrt(2 * eps) * z


def predictor_corrector(
    keys, score_fn, sde, shape, steps, predictor="reverse_diffusion", corrector="langevin", snr=0.16, corrector_steps=1
):
    """Draw one image a key, `[B, *shape]`, from t = 1 to sde.sampling_eps in `steps` steps.

    Each step corrects `corrector_steps` times, then predicts (the order of the released code; paper algorithm 1 has it
    reversed). The last prediction is returned without its noise. Values are not clipped.
    """
    dt = (1.0 - sde.sampling_eps) / (steps - 1)
    moves = 1 + (0 if corrector == "none" else corrector_steps)  # a step's corrections, then its prediction
    grid = jnp.repeat(jnp.linspace(1.0, sde.sampling_eps, steps), moves)

    def move(carry, inputs):
        # One network evaluation serves either kind of move, so it is compiled once.
        x, _ = carry
        i, time = inputs
        t = jnp.full(x.shape[0], time)
        score, z = score_fn(x, t), noise_for(keys, 1 + i, shape)
        new, mean = predict(sde, score, x, t, dt, z, predictor)
        if moves > 1:
            corrected = correct(sde, score, x, t, dt, z, snr)
            predicting = (i + 1) % moves == 0
            new, mean = jnp.where(predicting, new, corrected), jnp.where(predicting, mean, corrected)
        return (new, mean), None

    x = sde.prior_std * noise_for(keys, 0, shape)
    (_, x_mean), _ = jax.lax.scan(move, (x, x), (jnp.arange(steps * moves), grid))
    return x_mean
