"""Moments against NumPy, Frechet distances against the matrix square root, closed forms and the features themselves."""

import numpy as np
import pytest
import scipy.linalg

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.frechet import Moments, frechet_distance


def features(count, dimension, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(count, dimension)) @ rng.normal(size=(dimension, dimension)) + rng.normal()


def statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


def test_moments_are_those_of_all_batches_together():
    x = np.float32(features(9000, 5, 0) + 1000)
    moments = Moments()
    for batch in np.split(x, [1, 3, 500, 501]):
        moments.add(batch)
    assert moments.count == 9000
    np.testing.assert_allclose(moments.mean, np.mean(x, 0, dtype=np.float64), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-10)


def test_moments_merge():
    x, y = features(30, 4, 1), features(50, 4, 2)
    merged = Moments().merge(Moments()).merge(Moments().add(x)).merge(Moments().add(y)).merge(Moments())
    np.testing.assert_allclose(merged.covariance, np.cov(np.concatenate([x, y]), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 64, 200])
def test_matrix_square_root(dimension):
    (m, a), (n, b) = statistics(features(500, dimension, 3)), statistics(features(400, dimension, 4, 1.5))
    expected = np.square(m - n).sum() + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(m, a, n, b) == pytest.approx(expected, rel=1e-8)


def test_commuting_covariances():
    a, b = np.asarray([4.0, 1.0, 0.0]), np.asarray([9.0, 0.0, 0.0])
    assert frechet_distance(np.zeros(3), np.diag(a), np.ones(3), np.diag(b)) == pytest.approx(3 + 1 + 1, rel=1e-12)
    assert frechet_distance(np.zeros(3), np.zeros((3, 3)), np.ones(3), np.diag(b)) == pytest.approx(3 + 9, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(40, 30), (40, 600)])
def test_fewer_images_than_dimensions(n, m):
    """The trace of the square root is the sum of the singular values of X Y^T, X and Y the centred features."""
    x, y = features(n, 100, 5), features(m, 100, 6)
    centred_x, centred_y = x - x.mean(0), y - y.mean(0)
    root = np.linalg.svd(centred_x @ centred_y.T, compute_uv=False).sum() / np.sqrt((n - 1) * (m - 1))
    spread = np.square(centred_x).sum() / (n - 1) + np.square(centred_y).sum() / (m - 1)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + spread - 2 * root
    assert frechet_distance(*statistics(x), *statistics(y)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [20, 300])
def test_identical_sets(count):
    one = statistics(features(count, 50, 7))
    assert 0 <= frechet_distance(*one, *one) < 1e-9 * np.trace(one[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Moments().add(np.zeros(3)), r"shape \[3\], not \[N, D\]"),
        (lambda: Moments().add([[0.0, np.nan], [1.0, np.inf], [1.0, 1.0]]), "features: 2 of 3 .* NaN or infinite"),
        (lambda: Moments().add(np.zeros((2, 3))).add(np.zeros((2, 4))), "2 features of 4 numbers after 2 of 3"),
        (lambda: Moments("real").add(np.zeros((1, 3))).covariance, "real: 1 features have no"),
        (lambda: frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), r"second mean has shape \[3\]"),
        (lambda: frechet_distance(np.zeros(2), np.eye(3), np.zeros(2), np.eye(2)), r"covariance \[3, 3\]"),
        (lambda: frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2) * np.nan), "second mean or cov"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
