"""Exact likelihoods of Gaussian data against the closed form (SciPy, float64)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scoressl_jax.metrics.likelihood import bits_per_dim, log_density
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.sde import VE, VP, SubVP
from tests.sampling.exact import make_mixture, score

PROCESSES = [VE(0.01, 50.0), VP(), SubVP()]
SHAPE = (4, 4, 1)
ONE = make_mixture(dimension=16, apart=0.0)
KEYS = image_keys(jax.random.key(0), jnp.arange(12))


def closed_form(sde, x):
    """log density of N(alpha m, alpha^2 C + std^2 I) at sampling_eps."""
    alpha, std = (float(v) for v in sde.marginal(jnp.asarray(sde.sampling_eps)))
    covariance = alpha**2 * ONE.covariance + std**2 * np.eye(16)
    return multivariate_normal(alpha * ONE.means[0], covariance).logpdf(x.reshape(len(x), -1))


def draw(count=12):
    normal = np.random.default_rng(0).normal(size=(count, 16))
    return (ONE.means[0] + (normal * ONE.spreads) @ ONE.axes.T).reshape(count, *SHAPE).astype(np.float32)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_exact_divergence(sde):
    x = draw()
    found = jax.jit(lambda x: log_density(KEYS, score(ONE, sde), sde, x, divergence="exact"))(x)
    difference = (np.asarray(found) - closed_form(sde, x)) / (16 * np.log(2))
    assert np.abs(difference).max() < 0.01  # bits per dimension


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_hutchinson_has_the_right_mean(sde):
    """One image, a probe for each of 1,600 keys: unbiased, and the same probe from the same key."""
    x = np.repeat(draw(1), 1600, axis=0)
    keys = image_keys(jax.random.key(1), jnp.arange(1600))
    run = jax.jit(lambda keys: log_density(keys, score(ONE, sde), sde, x, divergence="hutchinson", tolerance=1e-4))
    found = np.asarray(run(keys))
    error = found.std() / np.sqrt(1600)
    assert error > 0
    assert abs(found.mean() - closed_form(sde, x)[0]) < 4 * error + 0.02
    assert found.mean() / (16 * np.log(2)) == pytest.approx(closed_form(sde, x)[0] / (16 * np.log(2)), abs=0.01)


def test_one_call_of_the_network_gives_drift_and_divergence():
    calls = []
    sde = VP()

    def counted(x, t):
        calls.append(1)
        return score(ONE, sde)(x, t)

    jax.eval_shape(lambda x: log_density(KEYS, counted, sde, x), draw())
    assert len(calls) == 1


def test_bits_per_dimension_of_grey_levels():
    """-log2 of the density of the 256 grey levels: the closed form at the centres of their cells, which are small."""
    sde, images = VP(), np.clip(np.round(draw() * 256 - 0.5), 0, 255).astype(np.uint8)
    found = jax.jit(lambda images: bits_per_dim(KEYS, score(ONE, sde), sde, images, divergence="exact"))(images)
    expected = 8 - closed_form(sde, (images + 0.5) / 256) / (16 * np.log(2))
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert np.ptp(expected) > 0.3


def test_an_image_follows_from_its_key_alone():
    sde, images = VP(), (draw() * 255).clip(0, 255).astype(np.uint8)
    run = jax.jit(lambda keys, images: bits_per_dim(keys, score(ONE, sde), sde, images, tolerance=1e-4))
    first, reversed_ = run(KEYS, images), run(KEYS[::-1], images[::-1])
    np.testing.assert_allclose(first, np.asarray(reversed_)[::-1], atol=1e-3)
    assert np.abs(np.asarray(run(KEYS[::-1], images)) - np.asarray(first)).max() > 1e-4
