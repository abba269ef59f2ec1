"""Denoising score matching, and denoising likelihood score matching for classifiers.

Every loss is a pure function of callables and arrays: x_0 `[B, ...]`, t `[B]`, z like x_0.
"""

import jax
import jax.numpy as jnp

from scoressl_jax.sde import TRAINING_EPS, expand


def sample_times(key, batch, kind="stratified", focus=()):
    """Times in [TRAINING_EPS, 1], `[batch]`: `uniform` draws each by itself, `stratified` makes one low-discrepancy
    draw a batch, t_i = (u + i / batch) mod 1 (Kingma et al. 2021, section 3.2), which has far less variance.

    Uniformly distributed, but for `focus` = (share, low, high): that share lies between the times low and high.
    """
    if kind == "uniform":
        u = jax.random.uniform(key, (batch,))
    else:
        u = jnp.mod(jax.random.uniform(key, ()) + jnp.arange(batch) / batch, 1.0)
    if focus:
        share, low, high = focus
        at = jnp.asarray([0.0, low, high, 1.0])
        u = jnp.interp(u, (1 - share) * at + share * jnp.asarray([0.0, 0.0, 1.0, 1.0]), at)  # inverse of the CDF
    return TRAINING_EPS + (1 - TRAINING_EPS) * u


def denoising_score_matching(score_fn, sde, x_0, t, z, *, likelihood_weighting=False, power=1.0):
    """Mean over the batch of 1/2 sum_d lambda(t) (score + z / std)^2.

    lambda = std^(2 power): std^2 by default (Song et al. 2021, eq. 7), std^4 in the two-moons experiment of Chao et al.
    2022; times (g(t) / std)^2 with `likelihood_weighting`, which makes the default g(t)^2 (Song et al. 2021b, eq. 8).
    """
    x_t = sde.perturb(x_0, t, z)
    std = sde.marginal(t)[1]
    weight = expand(std, x_0) ** (power - 1)
    error = weight * (expand(std, x_0) * score_fn(x_t, t) + z)
    per_image = 0.5 * (error**2).reshape(x_0.shape[0], -1).sum(-1)
    if likelihood_weighting:
        per_image = per_image * (sde.diffusion(t) / std) ** 2
    return per_image.mean()


def likelihood_score(classifier_fn, x_t, t, y):
    """`(logits, features, g)` from one forward and backward pass, g = grad_x log(p(y | x_t) + 1e-8) like x_t.

    The 1e-8 bounds the gradient of very confident errors (released code of Chao et al. 2022).
    """

    def total(x):
        logits, features = classifier_fn(x, t)
        p = (jax.nn.softmax(logits) * jax.nn.one_hot(y, logits.shape[-1])).sum(-1)
        return jnp.log(p + 1e-8).sum(), (logits, features)

    g, (logits, features) = jax.grad(total, has_aux=True)(x_t)
    return logits, features, g


def denoising_likelihood_score_matching(g, score, sde, t, z, *, power=1.0):
    """DLSM (Chao et al. 2022, eq. 12) per image, `[B]`: mean_d 1/2 std^(2 power) (g + score + z / std)^2.

    g is the classifier's likelihood score and `score` the frozen score network's, both at x_t = perturb(x_0, t, z).
    power 0 is the released CIFAR-10 setting, 2 the two-moons one, 1 makes the target -z of unit size at every t.
    """
    std = expand(sde.marginal(t)[1], z)
    error = std**power * (g + score) + std ** (power - 1) * z
    return 0.5 * (error**2).reshape(z.shape[0], -1).mean(-1)
