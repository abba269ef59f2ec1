"""The one loop of every sampler with a fixed number of steps.

A sampler is a list of moves. Each move takes the score once, at the image and time where the last one arrived, so the
number of moves is the number of calls of the network. Every image has a key of its own and nothing in the loop mixes
images, so an image depends on its key alone, not on its batch, its place there, or the devices.
"""

import jax
import jax.numpy as jnp

PRIORS = ("gaussian", "uniform_gaussian")


def image_keys(key, indices):
    """One key an image: fold_in(key, image index), `[B]`."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)


def noise_for(keys, tag, shape):
    """Standard normal noise `[B, *shape]`, image i's from its own key and `tag`."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, tag), shape))(keys)


def draw_prior(keys, sde, shape, t, prior="gaussian"):
    """What sampling starts from at time `t`, `[B, *shape]`: noise std(t) z, to which `uniform_gaussian` adds
    alpha(t) u, u uniform in [0, 1] as images are (Mittal et al. 2022, section 3.2), which allows an earlier start."""
    alpha, std = sde.marginal(jnp.asarray(t))
    x = std * noise_for(keys, 0, shape)
    if prior == "uniform_gaussian":
        first = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, 0), 1))(keys)
        x = x + alpha * jax.vmap(lambda key: jax.random.uniform(key, shape))(first)
    return x


def reverse_process(
    keys, score_fn, sde, shape, moves, move, *, memory=0, prior="gaussian", project=None, progress=None, trace=False
):
    """Draw an image a key at time moves["t"][0], make the moves, return the last one's mean, `[B, *shape]`.

    moves: arrays `[M]`; "t" is the time at which the score is taken, "t_next" where the move arrives (0: clean).
    move(x, score, z, step, memory) -> (x, x_mean, memory): `step` has the move's entry of every array, `x_mean` is x
        without the move's noise; `memory` is that many images that a move leaves for the next, zeros at first.
    project(x, t, z) -> x: sets what is known of the image, at time t with noise z (inverse.py).
    trace: return the mean of every move, `[M, B, *shape]`.
    progress(done, of): is called on the host after every move; a program with it is not kept by the compilation cache.
    """
    count, t_first = moves["t"].shape[0], moves["t"][0]

    def body(carry, inputs):
        x, _, kept = carry
        i, step = inputs
        score = score_fn(x, jnp.full(x.shape[0], step["t"]))
        x, x_mean, kept = move(x, score, noise_for(keys, 1 + i, shape), step, kept)
        if project:  # the mean's known part has no noise, or the noise would end up in the result
            t = jnp.full(x.shape[0], step["t_next"])
            x = project(x, t, noise_for(keys, 1 + count + i, shape))
            x_mean = project(x_mean, t, jnp.zeros_like(x_mean))
        if progress:
            jax.debug.callback(progress, i + 1, count)
        return (x, x_mean, kept), (x_mean if trace else None)

    x = draw_prior(keys, sde, shape, t_first, prior)
    if project:
        x = project(x, jnp.full(x.shape[0], t_first), noise_for(keys, 1 + 2 * count, shape))
    kept = (jnp.zeros_like(x),) * memory
    (_, last, _), means = jax.lax.scan(body, (x, x, kept), (jnp.arange(count), moves))
    return means if trace else last


def clean_or(sde, t):
    """(alpha, std) at times `t`, where t <= 0 is the clean image: (1, 0). VE's own std there is sigma_min."""
    alpha, std = sde.marginal(jnp.maximum(t, 0.0))
    return jnp.where(t > 0, alpha, 1.0), jnp.where(t > 0, std, 0.0)


def posterior_step(denoised, x, sigma, sigma_next, eta, z):
    """One step sigma -> sigma_next of DDIM for x `[B, ...]` = x_0 + sigma z, the image over alpha; (x, x_mean).

    denoised and z are like x; the levels broadcast to it.

    eta = 1 is ancestral sampling, the posterior of x at sigma_next given x and x_0 = denoised; eta = 0 has no noise and
    is an Euler step of the probability-flow ODE (Song, Meng and Ermon 2021, eq. 12 and 16, divided by alpha: so one
    formula serves VE, VP and sub-VP).
    """
    squared = (sigma_next / sigma) ** 2
    x_mean = denoised + sigma_next / sigma * jnp.sqrt(1 - eta**2 + eta**2 * squared) * (x - denoised)
    return x_mean + eta * sigma_next * jnp.sqrt(1 - squared) * z, x_mean
