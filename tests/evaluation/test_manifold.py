"""Precision, recall, density and coverage against brute force, and where the answer is plain."""

import numpy as np
import pytest
import sklearn

from scoressl_jax.evaluation.manifold import neighbour_radius, precision_recall


def brute_force(real, samples, k):
    def radius(x):
        return [sorted(np.linalg.norm(a - b) for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]

    r, s = radius(real), radius(samples)
    distance = lambda i, j: np.linalg.norm(real[i] - samples[j])  # noqa: E731
    n, m = range(len(real)), range(len(samples))
    return {
        "precision": np.mean([any(distance(i, j) < r[i] for i in n) for j in m]),
        "recall": np.mean([any(distance(i, j) < s[j] for j in m) for i in n]),
        "density": np.mean([sum(distance(i, j) < r[i] for i in n) for j in m]) / k,
        "coverage": np.mean([any(distance(i, j) < r[i] for j in m) for i in n]),
    }


@pytest.mark.parametrize(("count", "k"), [(40, 5), (31, 2)])
def test_brute_force(count, k):
    rng = np.random.default_rng(count)
    real, samples = rng.normal(size=(40, 3)), 0.3 + 1.3 * rng.normal(size=(count, 3))
    found = precision_recall(real, samples, k)
    assert found == pytest.approx(brute_force(real, samples, k), rel=1e-12)
    assert 0 < found["precision"] < 1


def test_blocks_of_distances_do_not_matter():
    rng = np.random.default_rng(1)
    real, samples = rng.normal(size=(600, 2)), rng.normal(size=(500, 2))
    whole = precision_recall(real, samples)
    with sklearn.config_context(working_memory=0.05):
        assert precision_recall(real, samples) == whole


def test_one_mode_of_two_is_precise_and_half_recalled():
    rng = np.random.default_rng(2)
    modes = np.concatenate([rng.normal(size=(500, 2)), 100 + rng.normal(size=(500, 2))])
    found = precision_recall(modes, rng.normal(size=(800, 2)))
    assert found["precision"] > 0.95
    assert found["recall"] == pytest.approx(0.5, abs=0.05)
    assert found["coverage"] == pytest.approx(0.5, abs=0.05)


def test_radius_is_of_the_kth_other_point():
    x = np.asarray([[0.0], [1.0], [3.0], [7.0]])
    np.testing.assert_array_equal(neighbour_radius(x, 2), [3, 2, 3, 6])
