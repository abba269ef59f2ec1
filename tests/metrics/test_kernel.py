"""KID against scikit-learn's polynomial kernel and loops."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.kernel import kernel_distance, squared_mmd


def features(count, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, size=(count, 12)).astype(np.float32)


def brute_force(x, y):
    def mean_of_others(k):
        return np.mean([k[i, j] for i in range(len(k)) for j in range(len(k)) if i != j])

    kernel = lambda a, b: polynomial_kernel(a.astype(np.float64), b.astype(np.float64), degree=3)  # noqa: E731
    return mean_of_others(kernel(x, x)) + mean_of_others(kernel(y, y)) - 2 * kernel(x, y).mean()


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (2, 3)])
def test_unbiased_estimate(n, m):
    x, y = features(n, 0), features(m, 1, 0.3)
    assert squared_mmd(x, y) == pytest.approx(brute_force(x, y), rel=1e-9)


def test_subsets_are_drawn_from_the_seed_without_repeats():
    x, y = features(50, 2), features(60, 3, 0.5)
    rng = np.random.default_rng(7)
    expected = []
    for _ in range(9):
        rows, columns = rng.choice(50, 20, replace=False), rng.choice(60, 20, replace=False)
        expected.append(brute_force(x[rows], y[columns]))
    found = kernel_distance(x, y, subsets=9, subset_size=20, seed=7)
    assert found == pytest.approx((np.mean(expected), np.std(expected)), rel=1e-9)
    assert found == kernel_distance(x, y, subsets=9, subset_size=20, seed=7)
    assert found != kernel_distance(x, y, subsets=9, subset_size=20, seed=8)


def test_fewer_images_than_a_subset():
    x, y = features(30, 4), features(20, 5, 0.5)
    assert kernel_distance(x, y) == (pytest.approx(brute_force(x, y), rel=1e-9), 0)
    mean, deviation = kernel_distance(x, y, subsets=400, subset_size=25)  # of x 25, all of y
    assert mean == pytest.approx(brute_force(x, y), rel=0.05)
    assert deviation > 0


def test_one_distribution_is_at_zero():
    """Unbiased: over many subsets of independent sets the mean is zero within its error, and not always positive."""
    means = [kernel_distance(features(40, 10 + s), features(40, 50 + s))[0] for s in range(40)]
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(40)
    assert min(means) < 0


@pytest.mark.parametrize(
    ("real", "samples", "options", "message"),
    [
        (features(1, 0), features(9, 0), {}, "real: 1 features, but KID needs 2"),
        (features(9, 0), features(1, 0), {}, "samples: 1 features, but KID needs 2"),
        (features(9, 0), features(9, 0)[:, :5], {}, "real: 12 numbers a feature, samples: 5"),
        (features(9, 0), features(9, 0) * np.nan, {}, "samples: 9 of 9 features are NaN"),
        (features(9, 0), features(9, 0), {"subset_size": 1}, "subsets of 1"),
    ],
)
def test_bad_input_is_one_line(real, samples, options, message):
    with pytest.raises(UserError, match=message) as caught:
        kernel_distance(real, samples, **options)
    assert "\n" not in str(caught.value)
