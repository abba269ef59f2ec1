"""Oracles against derivatives of the log density, the released program's formula, and figures known for the moons."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scoressl_jax.metrics.score_error import PUBLISHED_EPS, grid, mean_distance, oracle, parzen_score
from scoressl_jax.studies.moons.points import load_moons

RNG = np.random.default_rng(0)
POINTS, AT = RNG.normal(size=(9, 2)), 3 * RNG.normal(size=(5, 2))


def log_density(at, sigma):
    return np.log(np.mean([multivariate_normal(point, sigma**2).pdf(at) for point in POINTS], axis=0))


def test_score_is_the_derivative_of_the_log_density():
    found = parzen_score(AT, POINTS, 0.7)
    for i in range(2):
        step = 1e-5 * np.eye(2)[i]
        expected = (log_density(AT + step, 0.7) - log_density(AT - step, 0.7)) / 2e-5
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-6)


def test_far_away_it_points_to_the_nearest_point():
    at = np.asarray([[1000.0, 0.0]])
    nearest = POINTS[POINTS[:, 0].argmax()]
    np.testing.assert_allclose(parzen_score(at, POINTS, 0.1), (nearest - at) / 0.01, rtol=1e-12)
    assert np.isfinite(parzen_score(at, POINTS, 0.1, PUBLISHED_EPS)).all()


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_eps_is_added_to_the_density(eps):
    p = np.stack([multivariate_normal(point, 0.49).pdf(AT) for point in POINTS], 1)
    numerator = ((POINTS[None] - AT[:, None]) / 0.49 * p[..., None]).mean(1)
    expected = numerator / (p.mean(1)[:, None] + eps)
    np.testing.assert_allclose(parzen_score(AT, POINTS, 0.7, eps), expected, rtol=1e-9)


def test_grid_is_the_published_one():
    at = grid()
    assert at.shape == (1225, 2)
    assert (at.min(0) == (-40, -25)).all()
    assert (at.max(0) == (40, 25)).all()
    x, y = np.meshgrid(np.linspace(-40, 40, 35, dtype=np.float32), np.linspace(-25, 25, 35, dtype=np.float32))
    np.testing.assert_allclose(at, np.concatenate([x.flatten()[:, None], y.flatten()[:, None]], 1), rtol=1e-6)


def test_oracles_of_the_moons():
    """Mean norms over the grid of the published oracle, and what its 1e-8 changes, as computed independently."""
    points, labels = load_moons()
    at = grid()
    exact, exact_prior = oracle(at, points, labels, 7.5)
    posterior, prior = oracle(at, points, labels, 7.5, PUBLISHED_EPS)
    assert mean_distance(posterior, 0) == pytest.approx(0.2548, abs=5e-5)
    assert mean_distance(prior, 0) == pytest.approx(0.1566, abs=6e-5)
    assert mean_distance(posterior - prior, 0) == pytest.approx(0.1430, abs=5e-5)
    assert mean_distance(posterior, exact) == pytest.approx(0.0126, abs=5e-5)
    assert np.linalg.norm(posterior - exact, axis=-1).max() == pytest.approx(0.62, abs=5e-3)
    assert mean_distance(prior, exact_prior) == pytest.approx(1.2e-4, abs=5e-6)


def test_mean_distance_is_euclidean():
    assert mean_distance(np.asarray([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2))) == 2.5
