"""The block of figures that compares samples with real images, on features whose figures are known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from scoressl_jax.errors import UserError
from scoressl_jax.metrics import generation
from scoressl_jax.metrics.features import Extractor
from scoressl_jax.metrics.generation import BIAS, compare_classes, compare_samples, described, fid

rng = np.random.default_rng(0)
NAMES = ("cat", "dog", "owl")


def brute_force(real, samples, k):
    """Precision, recall, density and coverage from whole matrices of distances (Naeem et al. 2020, section 3)."""
    between = cdist(real, samples)
    radius = [np.sort(cdist(x, x))[:, k] for x in (real, samples)]
    inside = between < radius[0][:, None]
    return {
        "precision": inside.any(0).mean(),
        "recall": (between < radius[1]).any(1).mean(),
        "density": inside.sum() / k / len(samples),
        "coverage": inside.any(1).mean(),
    }


def scipy_fid(real, samples):
    covariances = [np.cov(x, rowvar=False) for x in (real, samples)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    gap = real.mean(0) - samples.mean(0)
    return gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)


def images_of(features):
    """Images that stand for the rows of `features`, and the Extractor that knows them."""
    table = {"pool": features, "logits": 40.0 * np.eye(4)[np.arange(len(features)) % 4], "spatial": 2 * features}
    images = np.arange(len(features)).reshape(-1, 1, 1, 1)
    outputs = lambda images: {name: values[images.ravel()] for name, values in table.items()}  # noqa: E731
    return images, Extractor("a table", outputs)


@pytest.fixture
def sets():
    """(features of 60 real images and 45 samples, real labels, sample labels); dogs are better than cats."""
    real_labels, sample_labels = np.arange(60) % 3, np.arange(45) % 3
    real = rng.normal(size=(60, 2)) + 5 * real_labels[:, None]
    samples = rng.normal(size=(45, 2)) + 5 * sample_labels[:, None]
    samples[sample_labels == 0] += 3.0
    return real, samples, real_labels, sample_labels


def compared(sets, k=3, convention="prdc", labels=True):
    real, samples, *own = sets
    images, extractor = images_of(np.concatenate([real, samples]))
    real_labels, sample_labels = own if labels else (None, None)
    return compare_samples(
        extractor, (images[:60], real_labels), (images[60:], sample_labels), NAMES, k=k, convention=convention
    )


def test_every_figure_is_there_under_the_count_of_samples(sets):
    block, warnings = compared(sets)
    real, samples, *_ = sets
    assert block["features"] == "a table"
    assert (block["count"], block["reference_count"], block["k"], block["convention"]) == (45, 60, 3, "prdc")
    assert block["fid@45"] == pytest.approx(scipy_fid(real, samples))
    assert block["sfid@45"] == pytest.approx(4 * scipy_fid(real, samples))
    for name, value in brute_force(real, samples, 3).items():
        assert block[name] == pytest.approx(value)
    # 45 samples, one class each: 12, 11, 11, 11 of the four.
    share = np.array([12, 11, 11, 11]) / 45
    assert block["is@45"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert warnings == [BIAS]


def test_kid_is_the_unbiased_estimate_over_all_pairs(sets):
    real, samples, *_ = sets
    kernel = lambda x, y: (x @ y.T / 2 + 1) ** 3  # noqa: E731
    off_diagonal = lambda x: kernel(x, x)[~np.eye(len(x), dtype=bool)].mean()  # noqa: E731
    expected = off_diagonal(real) + off_diagonal(samples) - 2 * kernel(real, samples).mean()
    block = compared(sets)[0]
    assert block["kid@45"] == pytest.approx(expected)
    assert block["kid_sd@45"] == 0  # one subset holds everything


def test_classes_one_by_one_and_their_mean(sets):
    real, samples, real_labels, sample_labels = sets
    block, _ = compared(sets)
    assert list(block["classwise"]) == list(NAMES)
    rows = []
    for c, name in enumerate(NAMES):
        own = real[real_labels == c], samples[sample_labels == c]
        rows.append(brute_force(*own, 3) | {"fid@15": scipy_fid(*own)})
        assert block["classwise"][name] == pytest.approx(rows[-1] | {"count": 15})
    assert block["classwise_mean"] == pytest.approx({key: np.mean([row[key] for row in rows]) for key in rows[0]})
    assert block["classwise"]["cat"]["precision"] < block["classwise"]["dog"]["precision"]


def test_without_labels_there_is_nothing_class_by_class(sets):
    block, _ = compared(sets, labels=False)
    assert not {"classwise", "classwise_mean"} & block.keys()
    assert "recall" in block


def test_classes_of_unequal_counts_are_measured_and_small_ones_left_out_by_name(sets):
    real, samples, real_labels, sample_labels = sets
    keep = (sample_labels == 0) | ((sample_labels == 1) & (np.cumsum(sample_labels == 1) <= 7)) | (np.arange(45) < 9)
    left, names = (samples[keep], sample_labels[keep]), (*NAMES, "elk")
    rows, left_out = compare_classes((real, left[0]), (real_labels, left[1]), names, 5, "prdc")
    assert {name: row["count"] for name, row in rows["classwise"].items()} == {"cat": 15, "dog": 7}
    assert left_out == ["owl (20 real, 3 samples)", "elk (0 real, 0 samples)"]
    cat, dog = rows["classwise"].values()
    assert rows["classwise_mean"] == pytest.approx(
        {key: (cat[key] + dog[key]) / 2 for key in ("precision", "recall", "density", "coverage")}
    )  # FID of 15 and of 7 samples are no figures of one kind
    assert {"fid@15", "fid@7"} <= cat.keys() | dog.keys()


def test_warning_of_what_was_left_out(sets):
    real, samples, real_labels, sample_labels = sets
    block, warnings = compared((real, samples, real_labels, np.where(sample_labels == 2, -1, sample_labels)))
    assert warnings[1] == "left out class by class, for want of more than 3 images: owl (20 real, 0 samples)"
    assert list(block["classwise"]) == ["cat", "dog"]
    assert block["count"] == 45  # unlabelled samples count over all


def test_no_class_large_enough():
    few = rng.normal(size=(6, 2))
    rows, left_out = compare_classes((few, few), (np.arange(6) % 3,) * 2, NAMES, 2, "prdc")
    assert rows == {}
    assert len(left_out) == 3


def test_fid_of_a_class_needs_more_images_than_features():
    x = rng.normal(size=(40, 8))
    rows, _ = compare_classes((x, x[::-1]), (np.arange(40) < 9,) * 2, ("b", "a"), 3, "prdc")
    assert "fid@31" in rows["classwise"]["b"]
    assert "fid@9" in rows["classwise"]["a"]
    rows, _ = compare_classes((x, x[::-1]), (np.arange(40) < 8,) * 2, ("b", "a"), 3, "prdc")
    assert not any(key.startswith("fid") for key in rows["classwise"]["a"])


def test_conventions_differ_at_the_edge_of_a_ball():
    """Points on a line, each at the distance of its neighbours' first neighbour."""
    line = np.arange(8.0)[:, None]
    images, extractor = images_of(np.concatenate([line, line + 1]))
    sets = (images[:8], None), (images[8:], None)
    precision = [
        compare_samples(extractor, *sets, (), k=1, convention=convention)[0]["precision"]
        for convention in ("prdc", "guided_diffusion")
    ]
    # Samples 1..8: all but 8 lie on a real point; 8 lies at the edge of the ball of 7.
    assert precision == [7 / 8, 1.0]


@pytest.mark.parametrize(("real", "samples"), [(3, 20), (20, 3)])
def test_too_few_images(real, samples):
    images, extractor = images_of(rng.normal(size=(30, 2)))
    with pytest.raises(UserError, match="^3 (real images|samples): k=3 nearest neighbours need more"):
        compare_samples(extractor, (images[:real], None), (images[:samples], None), (), k=3, convention="prdc")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite(bad):
    features = rng.normal(size=(30, 2))
    features[25, 1] = bad
    images, extractor = images_of(features)
    with pytest.raises(UserError, match="1 of 10 features"):
        compare_samples(extractor, (images[:20], None), (images[20:], None), (), k=3, convention="prdc")


def test_fid_of_shifted_and_scaled_gaussians():
    x = rng.normal(size=(200, 3))
    assert fid(x, x) == pytest.approx(0, abs=1e-9)
    assert fid(x, x + [1, 2, 2]) == pytest.approx(9)
    covariance = np.trace(np.cov(x, rowvar=False))
    assert fid(x, 3 * x - 2 * x.mean(0)) == pytest.approx(4 * covariance)  # (3 - 1)^2 of each variance


def test_many_images_need_no_warning_and_features_alone_no_other_figures(sets, monkeypatch):
    real, samples, *_ = sets
    for least, expected in ((46, [BIAS]), (45, [])):
        monkeypatch.setattr(generation, "BIASED_BELOW", least)
        extractor = Extractor("themselves", lambda features: {"pool": features})
        block, warnings = compare_samples(extractor, (real, None), (samples, None), (), k=3, convention="prdc")
        assert warnings == expected
        assert not any(key.startswith(("is@", "sfid@")) for key in block)


def test_described_rows_leave_out_what_was_not_measured(sets):
    block = compared(sets)[0]
    rows = described(block)
    assert [row[0] for row in rows][:2] == ["FID@45", "sFID@45"]
    assert ("precision", block["precision"], "higher") in [row[:3] for row in rows]
    assert not any(row[0].startswith("CAS") for row in rows)
    assert described(block | {"cas": 0.5})[-1][:3] == ("CAS", 0.5, "higher")
    assert all(row[3] for row in rows)
