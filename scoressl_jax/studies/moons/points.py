"""The two moons of Chao et al. 2022 (A.6.2): 10,000 points in the plane on two interleaved half circles."""

import numpy as np
from sklearn.datasets import make_moons

CLASS_NAMES = ("upper", "lower")
RADIUS = 20


def load_moons():
    """Points float64 `[10000, 2]`, x in [-30, 30] and y in [-15, 15] about a mean of 0, and labels int32 `[10000]`.

    Class 0 is the upper moon, class 1 the lower one, 5,000 points each, without noise; the released program draws the
    same points (scikit-learn, random_state=1).
    """
    points, labels = make_moons(10_000, noise=0.0, random_state=1)
    return RADIUS * (points - points.mean(0)), labels.astype(np.int32)
