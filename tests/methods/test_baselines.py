"""Baselines on scikit-learn's digits, against scikit-learn's own searches and graphs."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from scoressl_jax.errors import UserError
from scoressl_jax.methods.baselines import BASELINES, fit, preferred, spread

IMAGES, Y = load_digits(return_X_y=True)
IMAGES = (IMAGES.reshape(-1, 8, 8, 1) * 15.9).astype(np.uint8)
ORDER = np.random.default_rng(0).permutation(900)
LABELED = np.sort(np.concatenate([ORDER[Y[ORDER] == c][:6] for c in range(10)]))
REST = np.setdiff1d(np.arange(600), LABELED)
TEST = np.arange(1000, 1797)
FLAT = IMAGES.reshape(len(IMAGES), -1) / np.float32(255)


@pytest.fixture(scope="module")
def fitted():
    return {name: fit(name, IMAGES[LABELED], Y[LABELED], IMAGES[REST], seed=3) for name in BASELINES}


def right(baseline, rows=TEST):
    return (baseline.predict(IMAGES[rows]).argmax(1) == Y[rows]).mean()


@pytest.mark.parametrize(
    ("name", "least"), [("svm", 0.85), ("logistic", 0.8), ("label_spreading", 0.88), ("self_training", 0.78)]
)
def test_test_images_are_classified_and_settings_matter(fitted, name, least):
    baseline = fitted[name]
    p = baseline.predict(IMAGES[TEST])
    assert p.shape == (len(TEST), 10)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert p.min() >= 0
    assert right(baseline) > least
    shares = [share for _, share in baseline.tried]
    assert len(shares) >= 6
    assert max(shares) - min(shares) > 0.04
    share, error, folds = baseline.cross_validated
    assert (baseline.chosen, share) in baseline.tried
    assert share >= shares[0]
    assert share > max(shares) - 0.1
    assert folds == 5
    assert error == pytest.approx(np.sqrt(share * (1 - share) / 60))
    assert share == pytest.approx(right(baseline), abs=0.15)
    assert baseline.seconds > 0


def test_the_search_is_scikit_learns(fitted):
    """Folds of twelve images each: the mean over folds is that over images."""
    with threadpool_limits(1):
        assert_searched_alike(fitted, FLAT[LABELED], Y[LABELED])


def assert_searched_alike(fitted, x, y):
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    unit = 1 / (64 * x.var())
    grid = {"C": [1, 10, 100], "gamma": [width * unit for width in (0.1, 0.25, 0.5, 1, 2, 4)]}
    search = GridSearchCV(SVC(break_ties=True), grid, cv=folds).fit(x, y)
    found = fitted["svm"]
    assert max(share for _, share in found.tried) == pytest.approx(search.best_score_)
    searched = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True)
    expected = {(setting["C"], setting["gamma"]): score for setting, score in searched}
    assert len(found.tried) == len(expected)
    for setting, share in found.tried:
        assert share == pytest.approx(expected[setting["C"], setting["width"] * unit])
    best = SVC(C=found.chosen["C"], gamma=found.chosen["width"] * unit, break_ties=True).fit(x, y)
    np.testing.assert_array_equal(found.predict(IMAGES[TEST]).argmax(1), best.predict(FLAT[TEST]))
    for setting, share in fitted["logistic"].tried:
        model = LogisticRegression(C=setting["C"], max_iter=300)
        assert share == pytest.approx(cross_val_score(model, x, y, cv=folds).mean())


def test_the_usual_setting_stands_unless_another_is_better_by_more_than_chance():
    right = lambda *numbers: np.isin(np.arange(20), numbers).astype(float)  # noqa: E731
    usual, equal = ("usual", right(*range(10))), ("equal", right(*range(10, 20)))
    lucky = ("lucky", right(*range(9), *range(12, 16)))  # three better of five that differ: 0.15, +- 0.1
    better = ("better", right(*range(15)))  # five better of five: 0.25, +- 0.1
    for others, expected in (((equal,), "usual"), ((lucky,), "usual"), ((better, lucky), "better"), ((), "usual")):
        assert preferred([usual, *others])[0] == expected


@pytest.mark.parametrize("alpha", [0.2, 0.9])
def test_spreading_over_known_neighbours_is_scikit_learns(alpha):
    x, labels = FLAT[:500], np.where(np.arange(500) < 60, Y[:500], -1)
    model = LabelSpreading(kernel="knn", n_neighbors=7, alpha=alpha, max_iter=100).fit(x, labels)
    nearest = NearestNeighbors(n_neighbors=7).fit(x).kneighbors(x, return_distance=False)
    classes, shares = spread(nearest, labels, alpha)
    np.testing.assert_array_equal(classes, model.classes_)
    np.testing.assert_allclose(shares, model.label_distributions_, atol=1e-6)
    assert (shares.argmax(1) == Y[:500])[60:].mean() > 0.85


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_again_and_unlabelled_images_matter_where_they_should(fitted, name):
    few = dict(seed=3, seconds=0)
    first = fit(name, IMAGES[LABELED], Y[LABELED], IMAGES[REST], **few)
    assert len(first.tried) == 1, "no time for a second setting"
    again = fit(name, IMAGES[LABELED], Y[LABELED], IMAGES[REST], **few)
    p = first.predict(IMAGES[TEST])
    np.testing.assert_array_equal(again.predict(IMAGES[TEST]), p)
    assert again.tried == first.tried
    other = fit(name, IMAGES[LABELED], Y[LABELED], IMAGES[700:900], **few).predict(IMAGES[TEST])
    assert (other == p).all() == (name in ("svm", "logistic"))
    floats = fit(name, FLAT[LABELED], Y[LABELED], FLAT[REST], **few)
    np.testing.assert_allclose(floats.predict(FLAT[TEST]), p, atol=1e-3)


@pytest.mark.parametrize("name", BASELINES)
def test_few_labels_have_few_folds_or_none(name):
    three = np.concatenate([np.flatnonzero(c == Y)[:3] for c in range(10)])
    found = fit(name, IMAGES[three], Y[three], IMAGES[REST], seconds=0)
    assert found.cross_validated.folds == 3
    one = np.delete(three, [0, 1])
    found = fit(name, IMAGES[one], Y[one], IMAGES[REST])
    assert found.cross_validated is None
    assert found.tried == []
    assert right(found) > 0.6


@pytest.mark.parametrize("name", BASELINES)
def test_two_classes_and_classes_without_labels(name):
    rows = np.flatnonzero(np.isin(Y, (1, 3)))
    found = fit(name, IMAGES[rows[:20]], Y[rows[:20]], IMAGES[rows[20:200]], seconds=0, classes=6)
    assert found.cross_validated.share > 0.8
    p = found.predict(IMAGES[rows[200:]])
    assert p.shape[1] == 6
    assert not p[:, [0, 2, 4, 5]].any()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert (p.argmax(1) == Y[rows[200:]]).mean() > 0.9


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(UserError, match="baseline 'forest' is unknown: choose among svm, logistic"):
        fit("forest", IMAGES[:9], Y[:9], IMAGES[9:20])
    zeros = np.flatnonzero(Y == 0)[:5]
    with pytest.raises(UserError, match="two classes or more"):
        fit("svm", IMAGES[zeros], Y[zeros], IMAGES[9:20])
