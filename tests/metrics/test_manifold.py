"""Precision, recall, density and coverage against brute force, the prdc package, and where the answer is plain."""

import numpy as np
import prdc
import pytest
from scipy.spatial.distance import cdist

from scoressl_jax.errors import UserError
from scoressl_jax.metrics import manifold
from scoressl_jax.metrics.manifold import neighbour_radius, precision_recall


def radius2(x, k):
    """Squared distance to the k-th of the others."""
    x = x.astype(np.float64)
    others = [cdist(x[i : i + 1], np.delete(x, i, 0), "sqeuclidean")[0] for i in range(len(x))]
    return np.asarray([sorted(d2)[k - 1] for d2 in others])


def brute_force(real, samples, k, inside=np.less):
    """From the definitions, on squared distances by differences in float64."""
    d2 = cdist(real.astype(np.float64), samples.astype(np.float64), "sqeuclidean")
    in_real, in_samples = inside(d2, radius2(real, k)[:, None]), inside(d2, radius2(samples, k))
    return {
        "precision": np.mean([column.any() for column in in_real.T]),
        "recall": np.mean([row.any() for row in in_samples]),
        "density": np.mean([column.sum() for column in in_real.T]) / k,
        "coverage": np.mean([row.any() for row in in_real]),
    }


def features(count, dimension, seed, spread=1.0, offset=0.0):
    """A plane of six dimensions and a little noise, float32."""
    plane = np.random.default_rng(99).normal(size=(6, dimension))
    rng = np.random.default_rng(seed)
    x = spread * rng.normal(size=(count, 6)) @ plane + 0.1 * rng.normal(size=(count, dimension)) + offset
    return x.astype(np.float32)


@pytest.fixture
def float32(monkeypatch):
    """Matrix products in float32, as for sets that are large."""
    monkeypatch.setattr(manifold, "FLOAT64_UP_TO", 0)


@pytest.mark.parametrize(("count", "k"), [(40, 5), (31, 2)])
def test_brute_force(count, k):
    rng = np.random.default_rng(count)
    real, samples = rng.normal(size=(40, 3)), 0.3 + 1.3 * rng.normal(size=(count, 3))
    found = precision_recall(real, samples, k)
    assert found == pytest.approx(brute_force(real, samples, k), rel=1e-12)
    assert 0 < found["precision"] < 1


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_prdc_package(precision, k, request):
    if precision == "float32":
        request.getfixturevalue("float32")
    real, samples = features(700, 64, 0), features(600, 64, 1, 1.2)
    expected = prdc.compute_prdc(real, samples, k)
    assert precision_recall(real, samples, k, block=256) == pytest.approx(expected, rel=1e-12)
    assert 0.1 < expected["precision"] < 1
    assert 0.1 < expected["recall"] < 1


@pytest.mark.parametrize(("convention", "inside"), [("prdc", np.less), ("guided_diffusion", np.less_equal)])
def test_edge_of_a_ball(convention, inside):
    """Points of a small lattice: most comparisons are of equal distances, many points are the same."""
    rng = np.random.default_rng(2)
    real, samples = rng.integers(0, 4, size=(60, 3)), rng.integers(0, 5, size=(50, 3))
    found = precision_recall(real, samples, 3, convention, block=16)
    assert found == pytest.approx(brute_force(real, samples, 3, inside), rel=1e-12)
    assert brute_force(real, samples, 3, np.less) != brute_force(real, samples, 3, np.less_equal)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("convention", "inside"), [("prdc", np.less), ("guided_diffusion", np.less_equal)])
def test_float32_products_far_from_zero_decide_as_float64(convention, inside):
    """Copies of real points among the samples, real points at the very edge of each other's balls, a large mean."""
    real = features(400, 300, 3, offset=3000)
    samples = np.concatenate([real[:200], features(250, 300, 4, 0.8, offset=3000)])
    found = precision_recall(real, samples, 4, convention, block=150)
    assert found == pytest.approx(brute_force(real, samples, 4, inside), rel=1e-12)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("block", [4, 16, 45, 89])
def test_blocks_of_distances_do_not_matter(block, precision, request):
    if precision == "float32":
        request.getfixturevalue("float32")
    real, samples = features(90, 20, 5), features(80, 20, 6)
    assert precision_recall(real, samples, block=block) == precision_recall(real, samples)


def test_all_neighbours_there_are():
    real, samples = features(6, 9, 7), features(7, 9, 8)
    assert precision_recall(real, samples, 5) == pytest.approx(brute_force(real, samples, 5), rel=1e-12)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_identical_sets(precision, request):
    if precision == "float32":
        request.getfixturevalue("float32")
    x = features(500, 128, 9, offset=3)
    everything = {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}
    assert precision_recall(x, x[::-1], block=200) == everything
    assert precision_recall(x, x, 4, "guided_diffusion", block=200) == {**everything, "density": 5 / 4}


def test_one_image_again_and_again():
    """All samples alike: their balls are empty with <, and with <= hold the image itself."""
    real = features(50, 8, 10)
    samples = np.repeat(real[:1], 40, 0)
    assert precision_recall(real, samples, 3) == brute_force(real, samples, 3)
    assert precision_recall(real, samples, 3)["recall"] == 0
    assert precision_recall(real, samples, 3, "guided_diffusion")["recall"] == 1 / 50


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


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("side", [10, 100])
def test_radius_where_rounding_swaps_neighbours(side):
    """Two tight clusters far apart, so that distances in a cluster are small against the norms."""
    x = features(400, 300, 14, 0.03, offset=np.where(np.arange(400) % 2, side, -side)[:, None])
    np.testing.assert_allclose(neighbour_radius(x, 4), np.sqrt(radius2(x, 4)), rtol=1e-12)


def test_progress_is_shown_for_what_takes_long(capsys):
    real = features(70, 4, 11)
    precision_recall(real, real)
    assert capsys.readouterr().out == ""
    precision_recall(real, real, block=8)
    assert "neighbours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("real", "samples", "options", "message"),
    [
        ((5, 3), (9, 3), {}, "real: 5 features, but k=5 nearest neighbours needs 6 or more: give more images"),
        ((9, 3), (3, 3), {"k": 3}, "samples: 3 features, but k=3"),
        ((9, 3), (9, 4), {}, "real: 3 numbers a feature, samples: 4"),
        ((9, 3, 2), (9, 6), {}, r"real: features have shape \[9, 3, 2\]"),
        ((9, 3), (9, 3), {"k": 0}, "k=0"),
        ((9, 3), (9, 3), {"convention": "euclid"}, "one of prdc, guided_diffusion"),
    ],
)
def test_bad_input_is_one_line(real, samples, options, message):
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=message) as caught:
        precision_recall(rng.normal(size=real), rng.normal(size=samples), **options)
    assert "\n" not in str(caught.value)


def test_not_finite():
    x = features(9, 3, 12)
    x[4, 1], x[5, 2] = np.nan, np.inf
    with pytest.raises(UserError, match="samples: 2 of 9 features are NaN or infinite"):
        precision_recall(features(9, 3, 13), x)
