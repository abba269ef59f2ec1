"""Bounds of the variational autoencoders against integrals over a latent variable of one dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, xlog1py, xlogy
from scipy.stats import norm

from scoressl_jax.models.vae import SemiSupervisedVAE, divergence, gaussian, log_bernoulli, log_normal

SHAPE, CLASSES, IMAGES, DRAWN = (2, 2, 1), 3, 2, 4000
GRID = np.linspace(-12, 12, 4001)
X = np.random.default_rng(0).uniform(size=(IMAGES, *SHAPE)).astype(np.float32)
VAES = {stacked: SemiSupervisedVAE(CLASSES, 4, stacked, width=6, latent=1) for stacked in (False, True)}


def parameters(vae):
    """Not those that a network begins with."""
    rng, begun = np.random.default_rng(1), vae.init(jax.random.key(0), X)
    return jax.tree.map(lambda leaf: leaf + rng.normal(scale=0.4, size=leaf.shape).astype(np.float32), begun)


PARAMS = {stacked: parameters(vae) for stacked, vae in VAES.items()}


def called(stacked, method, *arguments):
    return VAES[stacked].apply(PARAMS[stacked], *arguments, method=method)


def integral(values):
    return np.trapezoid(values, GRID, axis=0)


def drawn(fn):
    """The mean over keys, and its standard error."""
    found = np.asarray(jax.jit(jax.vmap(fn))(jax.random.split(jax.random.key(2), DRAWN)))
    return found.mean(0), found.std(0) / np.sqrt(DRAWN)


def assert_is_bound(found, error, mean, std, likelihood):
    """`likelihood [grid, images]`: log p(x | z). The mean of the draws is E_q log p(x, z) / q(z), which is below
    log p(x), by the divergence of q from the posterior; importance sampling by q finds log p(x) itself."""
    log_prior, log_q = norm.logpdf(GRID)[:, None], norm.logpdf(GRID[:, None], mean, std)
    expected = integral(np.exp(log_q) * (likelihood + log_prior - log_q))
    exact = np.log(integral(np.exp(likelihood + log_prior)))
    assert (np.abs(found - expected) < 5 * error + 1e-4).all()
    assert (expected < exact - 1e-3).all()
    z = mean + std * np.random.default_rng(3).normal(size=(DRAWN, len(mean)))
    nearest = [np.interp(z[:, i], GRID, likelihood[:, i]) for i in range(len(mean))]
    weighed = np.stack(nearest, 1) + norm.logpdf(z) - norm.logpdf(z, mean, std)
    np.testing.assert_allclose(logsumexp(weighed, 0) - np.log(DRAWN), exact, atol=0.2)


@pytest.mark.parametrize("stacked", VAES)
@pytest.mark.parametrize("y", range(CLASSES))
def test_the_bound_of_each_class_is_below_the_likelihood(stacked, y):
    h = called(stacked, "seen", X)
    one_hot = jnp.tile(jnp.eye(CLASSES)[y], (IMAGES, 1))
    mean, std = (np.asarray(part)[:, 0] for part in called(stacked, "posterior", h, one_hot))
    at = lambda z: called(stacked, "likelihood", h, one_hot, jnp.full((IMAGES, 1), z))  # noqa: E731
    likelihood = np.asarray(jax.jit(jax.vmap(at))(GRID.astype(np.float32)), float)
    found, error = drawn(lambda key: called(stacked, "bounds", h, key)[:, y] + np.log(CLASSES))
    assert_is_bound(found, error, mean, std, likelihood)


def test_the_bound_of_m1_is_below_the_likelihood():
    found = drawn(lambda key: called(True, "first_bound", X, key))
    mean, std = (np.asarray(part)[:, 0] for part in called(True, encode, X))
    keys = jax.random.split(jax.random.key(4), 10_000)
    samples = np.asarray(jax.vmap(lambda key: called(True, "seen", X, key))(keys))[..., 0]
    np.testing.assert_allclose(samples.mean(0), mean, atol=5 * std.max() / 100)
    np.testing.assert_allclose(samples.std(0), std, rtol=0.05)
    decoded = jax.vmap(lambda z: called(True, decode, z))(GRID.astype(np.float32)[:, None])
    likelihood = np.stack([log_bernoulli_by_hand(x.ravel(), np.asarray(decoded, float)) for x in X], 1)
    assert_is_bound(*found, mean, std, likelihood)


def encode(vae, x):
    return gaussian(vae.first_encoder(x.reshape(len(x), -1)))


def decode(vae, z):
    return vae.first_decoder(z)


def log_bernoulli_by_hand(x, logits):
    p = 1 / (1 + np.exp(-logits))
    return (xlogy(x, p) + xlog1py(1 - x, -p)).sum(-1)


def test_densities():
    rng = np.random.default_rng(5)
    x, mean, std = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.uniform(0.5, 2, (2, 3))
    np.testing.assert_allclose(log_normal(x, mean, std), norm.logpdf(x, mean, std).sum(-1), rtol=1e-5)
    logits, x = rng.normal(size=(2, 3)), rng.uniform(size=(2, 3))
    np.testing.assert_allclose(log_bernoulli(x, logits), log_bernoulli_by_hand(x, logits), rtol=1e-5)
    q = norm.pdf(GRID, 0.7, 0.4)
    expected = integral(np.where(q > 0, q * (norm.logpdf(GRID, 0.7, 0.4) - norm.logpdf(GRID)), 0))
    assert divergence(jnp.array([0.7]), jnp.array([0.4])) == pytest.approx(expected, rel=1e-4)


def test_what_m2_sees():
    np.testing.assert_array_equal(called(False, "seen", X), X.reshape(IMAGES, 4))
    logits, h = called(True, "__call__", X)
    np.testing.assert_array_equal(h, called(True, "seen", X))
    assert h.shape == (IMAGES, 1)
    assert logits.shape == (IMAGES, CLASSES)


@pytest.mark.parametrize("stacked", VAES)
def test_all_that_a_loss_needs_is_there(stacked):
    found = called(stacked, "everything", X, jax.random.key(6))
    shapes = {"logits": (IMAGES, CLASSES), "bounds": (IMAGES, CLASSES)} | ({"first": (IMAGES,)} if stacked else {})
    shapes = {"logits": (IMAGES, CLASSES), "bounds": (IMAGES, CLASSES)} | ({"first": (IMAGES,)} if stacked else {})
    assert {name: part.shape for name, part in found.items()} == shapes
    if not stacked:
        np.testing.assert_allclose(found["logits"], called(False, "__call__", X)[0], rtol=1e-6)
