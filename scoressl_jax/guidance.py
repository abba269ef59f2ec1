"""What combines callables: networks into score and classifier functions, denoising, guided scores.

A score function is `(x_t [B, ...], t [B]) -> score [B, ...]`; a classifier function is
`(x_t, t) -> (logits [B, C], features [B, F])`. Both hide the forward process: networks see the variance-exploding
image x_t / alpha and the log noise level log(std / alpha).
"""

import jax
import jax.numpy as jnp

from scoressl_jax.sde import expand


def make_score_fn(sde, network):
    """`network(x / alpha, log_sigma) -> score` in variance-exploding coordinates, as a score function."""

    def score_fn(x_t, t):
        alpha = expand(sde.marginal(t)[0], x_t)
        return network(x_t / alpha, sde.log_sigma(t)) / alpha

    return score_fn


def denoised(x_t, score, std):
    """x_hat = x_t + std^2 score: the estimated mean alpha(t) x_0 of p_t(x | x_0) (Sastry et al. 2023, section 3).

    score like x_t; std broadcasts to it."""
    return x_t + std**2 * score


def denoise(sde, score_fn, x_t, t):
    """The same at times t `[B]` of a score function."""
    return denoised(x_t, score_fn(x_t, t), expand(sde.marginal(t)[1], x_t))


def make_classifier_fn(sde, network, score_fn=None):
    """A classifier function from `network(x / alpha, log_sigma[, x_hat / alpha]) -> (logits, features)`.

    With `score_fn` it is denoising-assisted: its caller does not know, and its input gradient is the total derivative,
    through the score network. Without, it is a noisy classifier.
    """

    def classifier_fn(x_t, t):
        alpha = expand(sde.marginal(t)[0], x_t)
        x_hat = () if score_fn is None else (denoise(sde, score_fn, x_t, t) / alpha,)
        return network(x_t / alpha, sde.log_sigma(t), *x_hat)

    return classifier_fn


def log_likelihood_grad(classifier_fn, x_t, t, labels):
    """Gradient of log p(label | x_t) with respect to x_t, `[B, ...]`; labels int `[B]`."""

    def total(x):
        log_p = jax.nn.log_softmax(classifier_fn(x, t)[0])
        return (log_p * jax.nn.one_hot(labels, log_p.shape[-1])).sum()

    return jax.grad(total)(x_t)


def guided_score(score_fn, classifier_fn, labels, *, scale, interval=None):
    """The class-conditional score: score + scale * grad log p(label | x_t) (Score-SSL eq. 4; scale: Dhariwal and
    Nichol 2021). labels int `[B]`, one an image; scale 0 is unguided, 1 is Bayes' rule.

    interval: (first, last) time at which the gradient acts (Kynkaanniemi et al. 2024); None is everywhere. The
    classifier is not called where no image of the batch is inside.
    """

    def gradient(x_t, t):
        return scale * log_likelihood_grad(classifier_fn, x_t, t, labels)

    def within(x_t, t):
        inside = (t >= interval[0]) & (t <= interval[1])
        found = jax.lax.cond(inside.any(), gradient, lambda x_t, t: jnp.zeros_like(x_t), x_t, t)
        return jnp.where(expand(inside, x_t), found, 0.0)

    def score(x_t, t):
        return score_fn(x_t, t) + (within if interval else gradient)(x_t, t)

    return score
