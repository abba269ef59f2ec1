"""Precision, recall, density and coverage of samples, from nearest neighbours (Kynkaanniemi et al. 2019, Naeem et al.
2020)."""

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors


def neighbour_radius(x, k):
    """Distance of each of `x [N, D]` to its k-th nearest other one, `[N]`."""
    return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]


def precision_recall(real, samples, k=5):
    """{"precision", "recall", "density", "coverage"} of `samples [M, D]` against `real [N, D]`, each with more than k.

    A ball round each point reaches to its k-th nearest other one of its own kind. precision: share of samples inside
    any real ball; recall: share of real points inside any sample's ball; density: real balls that hold a sample, over
    k, mean over samples; coverage: share of real balls that hold a sample.
    """
    real_radius, sample_radius = neighbour_radius(real, k), neighbour_radius(samples, k)
    inside, recalled, covered = np.zeros(len(samples)), [], []
    start = 0
    for distances in pairwise_distances_chunked(real, samples):
        within = distances < real_radius[start : start + len(distances), None]
        inside += within.sum(0)
        covered.append(within.any(1))
        recalled.append((distances < sample_radius).any(1))
        start += len(distances)
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(inside.mean() / k),
        "coverage": float(np.concatenate(covered).mean()),
    }
