"""The flow in float64: its inverse, its determinant by differences, its likelihood by SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from small import QUICK

from scoressl_jax.models.flow import Flow, checkerboard, half_of_channels, logit

SHAPE, CLASSES = (4, 8, 1), 3
DIMENSIONS = 32
FLOW = Flow(CLASSES, width=5, couplings=2, spread=1.5)


def quick(fn, *arguments):
    """fn(*arguments), compiled in a fraction of the time."""
    return jax.jit(fn).lower(*arguments).compile(compiler_options=QUICK)(*arguments)


def image_of(params, z):
    return quick(lambda z: FLOW.apply(params, z, SHAPE, method="image"), z)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def params(double):
    """Not those that a flow begins with, which leave images alone."""
    begun, rng = quick(lambda: FLOW.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))), np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.asarray(leaf, float) + rng.normal(scale=0.2, size=leaf.shape), begun)


@pytest.fixture(scope="module")
def latent(params):
    return lambda x: quick(lambda x: FLOW.apply(params, x, method="latent"), x)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).uniform(0.02, 0.98, (3, *SHAPE))


def test_the_inverse(params, latent, x):
    z, _ = latent(x)
    assert z.shape == (3, DIMENSIONS)
    np.testing.assert_allclose(image_of(params, z), x, atol=1e-10)
    plain, _ = logit(x)
    assert not np.isclose(np.sort(np.ravel(z)), np.sort(np.ravel(plain)), atol=1e-3).all()


def test_the_determinant_by_differences(latent, x):
    """Central ones, of every latent coordinate in every pixel."""
    step, image = 1e-6, x[0]
    moved = image.reshape(-1) + step * np.concatenate([np.eye(DIMENSIONS), -np.eye(DIMENSIONS)])
    z = np.asarray(latent(moved.reshape(-1, *SHAPE))[0])
    jacobian = (z[:DIMENSIONS] - z[DIMENSIONS:]) / (2 * step)
    assert np.linalg.slogdet(jacobian)[1] == pytest.approx(float(latent(x)[1][0]), abs=1e-5)
    assert (np.abs(jacobian).sum(0) > 0).all()


def test_every_pixel_moves(params, x):
    """No mask shows a pixel in every coupling."""
    none = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf + (path[-1].key == "bias") + (path[-1].key == "gain"), params
    )
    latent = lambda params: quick(lambda x: FLOW.apply(params, x, method="latent"), x)[0]  # noqa: E731
    z, plain = latent(none), latent(jax.tree.map(lambda leaf: 0 * leaf, params))
    assert (np.abs(z - plain) > 1e-3).all()


def test_masks():
    np.testing.assert_array_equal(checkerboard((2, 3, 4), 0)[..., 0], [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(half_of_channels((2, 3, 4), 1)[0, 0], [0, 0, 1, 1])
    for mask in (checkerboard, half_of_channels):
        assert (mask((4, 4, 4), 0) + mask((4, 4, 4), 1) == 1).all()


def test_logits_are_log_likelihoods_of_grey_levels_with_each_class(params, latent, x):
    logits, features = quick(lambda x: FLOW.apply(params, x), x)
    z, volume = latent((255 * x + 0.5) / 256)
    np.testing.assert_allclose(features, z)
    means = FLOW.means(DIMENSIONS)
    for k in range(CLASSES):
        density = np.array([multivariate_normal.logpdf(point, means[k]) for point in z])
        np.testing.assert_allclose(logits[:, k], density + volume - np.log(CLASSES) - DIMENSIONS * np.log(256))


def test_noise_stays_within_a_grey_level(params, latent):
    x = np.random.default_rng(2).integers(0, 256, (2, *SHAPE)) / 255
    z, other = (quick(lambda x, key: FLOW.apply(params, x, key=key)[1], x, jax.random.key(seed)) for seed in (1, 2))
    found = np.asarray(image_of(params, z))
    assert (np.floor(256 * found) == np.round(255 * x)).all()
    noise = 256 * found - np.round(255 * x)
    assert 0.4 < noise.mean() < 0.6
    assert noise.std() == pytest.approx(12**-0.5, rel=0.2)
    assert (other != z).all()


def test_means_are_fixed_and_spread():
    np.testing.assert_array_equal(FLOW.means(DIMENSIONS), FLOW.means(DIMENSIONS))
    assert np.std(Flow(10, spread=2.0).means(784)) == pytest.approx(2, rel=0.05)


def test_a_flow_begins_with_images_as_they_are(x):
    z, volume = quick(lambda x: FLOW.apply(FLOW.init(jax.random.key(0), x), x, method="latent"), x)
    plain, slopes = logit(x)
    np.testing.assert_allclose(np.sort(np.ravel(z)), np.sort(np.ravel(plain)))
    np.testing.assert_allclose(volume, slopes)
