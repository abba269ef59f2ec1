"""How far estimated scores are from the true ones, where the true ones are known: data that are a set of points.

At noise level sigma the density of points x_i is a mixture of Gaussians (Parzen, Chao et al. 2022, eq. 2), and its
score has a closed form. Everything here is float64 NumPy.
"""

import numpy as np
from scipy.special import logsumexp, softmax

PUBLISHED_EPS = 1e-8  # added to the density by the released program


def log_kernels(at, points, sigma):
    """log N(at_j; point_i, sigma^2 I), `[J, I]`."""
    squares = ((at[:, None] - points[None]) ** 2).sum(-1)
    return -squares / (2 * sigma**2) - 0.5 * at.shape[-1] * np.log(2 * np.pi * sigma**2)


def parzen_score(at, points, sigma, eps=0.0):
    """Score `[J, D]` at `at [J, D]` of the equal mixture of N(point_i, sigma^2 I), `points [I, D]`.

    `eps` is added to the density in the denominator; 0 is exact.
    """
    log_p = log_kernels(at, points, sigma)
    score = (softmax(log_p, axis=1) @ points - at) / sigma**2
    density = np.exp(logsumexp(log_p, axis=1, keepdims=True)) / len(points)
    return score * density / (density + eps) if eps else score


def oracle(at, points, labels, sigma, eps=0.0):
    """(posterior scores `[C, J, D]`, prior score `[J, D]`) of labelled points; their difference is the likelihood
    score (Chao et al. 2022, eq. 5)."""
    posterior = [parzen_score(at, points[labels == c], sigma, eps) for c in np.unique(labels)]
    return np.stack(posterior), parzen_score(at, points, sigma, eps)


def mean_distance(scores, true):
    """Mean Euclidean distance of two fields `[J, D]`: D_P of posterior scores, D_L of likelihood scores (eq. 7)."""
    return float(np.linalg.norm(scores - true, axis=-1).mean())


def grid(half_width=40.0, half_height=25.0, side=35):
    """Points `[side^2, 2]` of the regular grid on which the paper takes the mean, row by row from the lower left."""
    x, y = np.meshgrid(np.linspace(-half_width, half_width, side), np.linspace(-half_height, half_height, side))
    return np.stack([x.ravel(), y.ravel()], -1)
