"""What people use instead: scikit-learn's classifiers on pixels, tuned as a careful user would tune them.

Settings are chosen by stratified cross-validation on the labelled images alone; the labels of others are never given.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from scoressl_jax.errors import UserError

COMPONENTS = 50  # principal ones, in which distances to all the unlabelled images are taken
MOST_FOLDS = 5


class CrossValidated(NamedTuple):
    """Share of the labelled images that are classified rightly when left out, its standard error by their number, and
    how many folds. Of the setting chosen, so a little optimistic where many were tried."""

    share: float
    error: float
    folds: int


@dataclass(frozen=True)
class Baseline:
    """`predict`: images `[N, ...]` like those it was fitted to -> probabilities `[N, classes]`. `tried`: (setting,
    share right when left out) each, of which `chosen` is `preferred`; without folds none, and the usual is chosen."""

    name: str
    predict: Callable
    chosen: dict
    tried: list
    cross_validated: CrossValidated | None
    seconds: float


def fit(name, x_labeled, y, x_unlabeled, seed=0, seconds=None, classes=None):
    """Baseline `name` of BASELINES, fitted to images `[N, ...]`, uint8 or floats, with labels `[N]`, and to images
    without: `svm` and `logistic` do not look at these.

    As many folds as the smallest class has labels, up to 5; with fewer than two in a class there is no
    cross-validation. No further setting is tried after `seconds`. UserError with fewer than two classes.
    """
    start = time.perf_counter()
    if name not in BASELINES:
        raise UserError(f"baseline {name!r} is unknown: choose among {', '.join(BASELINES)}")
    x, unlabeled, y = pixels(x_labeled), pixels(x_unlabeled), np.asarray(y)
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2:
        raise UserError(f"baseline {name!r} needs labelled images of two classes or more: there is one, label others")
    with alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an optimiser that ran out of steps: such a setting has to be good enough
        grid, train = BASELINES[name](x, unlabeled, seed)
        tried, chosen, validated = [], grid[0], None
        if counts.min() >= 2:
            folds = int(min(MOST_FOLDS, counts.min()))
            until = np.inf if seconds is None else start + seconds
            tried = left_out(grid, train, x, y, folds, seed, until)
            chosen, right = preferred(tried)
            share = float(right.mean())
            validated = CrossValidated(share, float(np.sqrt(share * (1 - share) / len(y))), folds)
        predict = predictor(train, y, chosen, classes or int(y.max()) + 1)
    shares = [(setting, float(right.mean())) for setting, right in tried]
    return Baseline(name, predict, chosen, shares, validated, time.perf_counter() - start)


def predictor(train, y, setting, classes):
    """images `[N, ...]` -> probabilities `[N, classes]`, of a model of all the labels with one setting."""
    model = train(np.arange(len(y)), y, **setting)

    def predict(images):
        with alone():
            return whole(model, pixels(images), classes)

    return predict


def refitted(name, images, y, setting, classes):
    """The predictor of a baseline that does not look at unlabelled images, with a setting that was chosen before."""
    x = pixels(images)
    with alone():
        return predictor(BASELINES[name](x, x[:0], 0)[1], y, setting, classes)


def left_out(grid, train, x, y, folds, seed, until):
    """[(setting, `[N]`: is each image classified rightly by a model of the other folds)] of the settings of the grid
    that are reached before the time `until`."""
    from sklearn.model_selection import StratifiedKFold

    parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, y))
    tried = []
    for setting in grid:
        right = np.zeros(len(y))
        for rows, held in parts:
            classes, predict = train(rows, y[rows], **setting)
            right[held] = classes[predict(x[held]).argmax(1)] == y[held]
        tried.append((setting, right))
        if time.perf_counter() > until:
            break
    return tried


def preferred(tried):
    """The best of settings, or the usual one, which is first, unless the best is better by two standard errors of their
    difference: few labels tell settings apart badly, and the luckiest of many would be taken for the best."""
    best, usual = max(tried, key=lambda found: found[1].mean()), tried[0]
    gain = best[1] - usual[1]
    return best if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) else usual


def alone():
    """One thread: more gain these small fits little, and where cores are shared cost much."""
    return threadpool_limits(1)


def pixels(images):
    """Images as rows of floats, bytes in [0, 1]."""
    images = np.asarray(images)
    scale = 255 if images.dtype == np.uint8 else 1
    return images.reshape(len(images), -1).astype(np.float32) / scale


def whole(model, x, classes):
    """Probabilities `[N, classes]` of a model that knows some of the classes."""
    known, predict = model
    found = np.zeros((len(x), classes))
    found[:, known] = predict(x)
    return found


def products(**values):
    """Every setting that takes one value of each name, the first of each first."""
    settings = [{}]
    for name, choices in values.items():
        settings = [{**setting, name: choice} for choice in choices for setting in settings]
    return settings


# Each `(labelled x, unlabelled x, seed) -> (settings, the usual one first; (rows of x, their labels, **setting) ->
# (classes, x -> probabilities))`.


def svm(x, unlabeled, seed):
    """Radial kernel, its width in scikit-learn's unit; probabilities are the softmax of the decision values."""
    from sklearn.svm import SVC

    unit = 1 / max(x.shape[1] * x.var(), 1e-12)

    def train(rows, y, C, width):
        model = SVC(C=C, gamma=width * unit, decision_function_shape="ovr").fit(x[rows], y)

        def predict(images):
            values = model.decision_function(images)
            return softmax(values if values.ndim == 2 else np.stack([0 * values, values], 1), axis=1)

        return model.classes_, predict

    return products(C=(10.0, 1.0, 100.0), width=(1.0, 2.0, 4.0, 0.5, 0.25, 0.1)), train


def logistic(x, unlabeled, seed):
    """Multinomial logistic regression with an L2 penalty."""

    def train(rows, y, C):
        model = _logistic(C).fit(x[rows], y)
        return model.classes_, model.predict_proba

    return products(C=(1.0, 0.1, 10.0, 0.01, 100.0, 0.001)), train


def _logistic(C):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=300)


def label_spreading(x, unlabeled, seed):
    """LabelSpreading (Zhou et al. 2004) over the k nearest neighbours, which are found once for all settings. Images
    that are left out stay in the graph, unlabelled; new ones have the average of their k neighbours in it."""
    from sklearn.neighbors import NearestNeighbors

    project = principal(np.concatenate([x, unlabeled]), seed)
    points = project(np.concatenate([x, unlabeled]))
    ks = (10, 7, 20, 5)
    index = NearestNeighbors(n_neighbors=min(max(ks), len(points))).fit(points)
    nearest = index.kneighbors(points, return_distance=False)

    def train(rows, y, k, alpha):
        labels = np.full(len(points), -1)
        labels[rows] = y
        classes, shares = spread(nearest[:, :k], labels, alpha)

        def predict(images):
            found = shares[index.kneighbors(project(images), return_distance=False)[:, :k]].sum(1)
            total = found.sum(1, keepdims=True)
            return np.where(total > 0, found / np.where(total > 0, total, 1), 1 / len(classes))

        return classes, predict

    return products(alpha=(0.5, 0.2, 0.8, 0.95, 0.99), k=ks), train


def spread(nearest, labels, alpha):
    """(classes, shares `[N, C]`) of scikit-learn's LabelSpreading, kernel "knn", on a graph that is known already: row
    i of `nearest` `[N, k]` begins with i. Labels are -1 where they are to be found."""
    from scipy import sparse
    from sklearn.semi_supervised import LabelSpreading

    count, k = nearest.shape
    edges = np.ones(nearest.size), nearest.ravel(), np.arange(0, nearest.size + 1, k)
    connected = sparse.csr_matrix(edges, (count, count))
    model = LabelSpreading(kernel=lambda *_: connected, alpha=alpha, max_iter=100).fit(np.zeros((count, 1)), labels)
    return model.classes_, model.label_distributions_


def self_training(x, unlabeled, seed):
    """Logistic regression on principal components that takes its confident predictions for labels, again and again
    (Yarowsky 1995)."""
    from sklearn.semi_supervised import SelfTrainingClassifier

    project = principal(np.concatenate([x, unlabeled]), seed)
    points, others = project(x), project(unlabeled)

    def train(rows, y, C, threshold):
        labels = np.concatenate([y, np.full(len(others), -1)])
        model = SelfTrainingClassifier(_logistic(C), threshold=threshold, max_iter=10)
        model.fit(np.concatenate([points[rows], others]), labels)
        return model.classes_, lambda images: model.predict_proba(project(images))

    return products(threshold=(0.9, 0.75, 0.97), C=(1.0, 0.1, 10.0)), train


def principal(x, seed):
    """x -> its coordinates along the COMPONENTS directions in which these images vary most, or all."""
    from sklearn.decomposition import PCA

    return PCA(min(COMPONENTS, *x.shape), random_state=seed).fit(x).transform


BASELINES = {
    "svm": svm,
    "logistic": logistic,
    "label_spreading": label_spreading,
    "self_training": self_training,
}
