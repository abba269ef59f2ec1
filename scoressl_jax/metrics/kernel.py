"""Kernel distance of features of two sets of images: KID of Inception's last pooling (Binkowski et al. 2018)."""

import numpy as np

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.frechet import checked_pair


def squared_mmd(x, y):
    """Unbiased squared maximum mean discrepancy of `x [m, D]` and `y [n, D]`, kernel (x.y / D + 1)^3, in float64
    (Binkowski et al. 2018, eq. 4 and section 4; Gretton et al. 2012, eq. 3). It can be negative."""
    m, n = len(x), len(y)
    both = np.concatenate([x, y]).astype(np.float64)
    kernel = both @ both.T / both.shape[1] + 1
    kernel *= kernel * kernel
    within_x = (kernel[:m, :m].sum() - kernel[:m, :m].trace()) / (m * (m - 1))
    within_y = (kernel[m:, m:].sum() - kernel[m:, m:].trace()) / (n * (n - 1))
    return within_x + within_y - 2 * kernel[:m, m:].mean()


def kernel_distance(real, samples, subsets=100, subset_size=1000, seed=0):
    """(mean, standard deviation) of the squared MMD over random subsets of `real [N, D]` and `samples [M, D]`.

    Each subset is drawn without replacement, `subset_size` from either set; a set with fewer is taken whole. Where both
    are, there is one subset and the deviation is 0. UserError with fewer than two features, differing D, numbers that
    are not finite.
    """
    real, samples = checked_pair(real, samples, least=2, why="KID")
    if subsets < 1 or subset_size < 2:
        raise UserError(f"KID over {subsets} subsets of {subset_size}: ask for one or more, of two or more")
    rng = np.random.default_rng(seed)
    if subset_size >= max(len(real), len(samples)):
        subsets = 1
    estimates = []
    for _ in range(subsets):
        drawn = [x[rng.choice(len(x), min(subset_size, len(x)), replace=False)] for x in (real, samples)]
        estimates.append(squared_mmd(*drawn))
    return float(np.mean(estimates)), float(np.std(estimates))
