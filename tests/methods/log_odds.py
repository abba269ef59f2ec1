"""Losses of the log odds of class 1 against 0, in NumPy, as a vector of the loss and its gradient."""

import numpy as np
from fake_learner import PARAMS, both, flat

LOSSES = {  # of a margin, with their slopes
    "sigmoid": (lambda z: 1 / (1 + np.exp(z)), lambda z: -np.exp(z) / (1 + np.exp(z)) ** 2),
    "logistic": (lambda z: np.log1p(np.exp(-z)), lambda z: -1 / (1 + np.exp(z))),
}


def log_odds(images):
    logits = flat(images) @ PARAMS
    return logits[:, 1] - logits[:, 0]


def mean_cost(images, sign, kind):
    """The mean of loss(sign f), with its gradient."""
    f, (loss, slope) = log_odds(images), LOSSES[kind]
    slopes = sign * slope(sign * f) / len(images)
    return both(loss(sign * f).mean(), images, slopes[:, None] * np.array([-1, 1, 0]))


def partial_risks(positive, unlabeled, prior, kind):
    """pi E_P l(f), and E_U l(-f) - pi E_P l(-f)."""
    of_negatives = mean_cost(unlabeled, -1, kind) - prior * mean_cost(positive, -1, kind)
    return prior * mean_cost(positive, 1, kind), of_negatives
