"""Frechet distance of features of two sets of images: FID of Inception's last pooling, sFID of its spatial features
(Heusel et al. 2017, Nash et al. 2021)."""

import numpy as np
from threadpoolctl import threadpool_limits

from scoressl_jax.errors import UserError

ROWS = 4096  # features in float64 at a time


def checked(features, name, least=1, why="a measurement"):
    """`features` as an array `[N, D]` of finite numbers with N >= `least`, or a UserError that calls them `name`."""
    features = np.asarray(features)
    if features.ndim != 2:
        raise UserError(f"{name}: features have shape {list(features.shape)}, not [N, D]: make each image's a row")
    if len(features) < least:
        raise UserError(f"{name}: {len(features)} features, but {why} needs {least} or more: give more images")
    bad = sum(np.count_nonzero(~np.isfinite(features[s : s + ROWS]).all(1)) for s in range(0, len(features), ROWS))
    if bad:
        raise UserError(f"{name}: {bad} of {len(features)} features are NaN or infinite: repair or leave out these")
    return features


def checked_pair(real, samples, least, why):
    """Both sets of features, `[N, D]` and `[M, D]`, or a UserError that says which one is at fault."""
    real, samples = checked(real, "real", least, why), checked(samples, "samples", least, why)
    if real.shape[1] != samples.shape[1]:
        raise UserError(
            f"real: {real.shape[1]} numbers a feature, samples: {samples.shape[1]}: take both from the same layer"
        )
    return real, samples


class Moments:
    """Mean and covariance of features that come in batches, in float64; nothing is kept but the moments.

    `count`, `mean [D]` and `scatter [D, D]`, the sum of outer products of deviations from the mean. `name` is what
    messages call the features.
    """

    def __init__(self, name="features"):
        self.name, self.count, self.mean, self.scatter = name, 0, 0.0, 0.0

    def add(self, features):
        """Add a batch `[n, D]` of any n; returns self. UserError where it is not finite or has another D."""
        features = checked(features, self.name)
        for start in range(0, len(features), ROWS):
            rows = features[start : start + ROWS].astype(np.float64)
            part = Moments()
            part.count, part.mean = len(rows), rows.mean(0)
            rows -= part.mean
            part.scatter = rows.T @ rows
            self.merge(part)
        return self

    def merge(self, other):
        """Add what `other` holds (Chan, Golub and LeVeque 1983, eq. 2.1); returns self."""
        if self.count and other.count and len(self.mean) != len(other.mean):
            raise UserError(
                f"{self.name}: {other.count} features of {len(other.mean)} numbers after {self.count} of "
                f"{len(self.mean)}: take all from one layer"
            )
        count, delta = self.count + other.count, other.mean - self.mean
        if other.count:
            self.scatter = self.scatter + other.scatter + np.outer(delta, delta) * (self.count * other.count / count)
            self.mean = self.mean + delta * (other.count / count)
            self.count = count
        return self

    @property
    def covariance(self):
        """The unbiased covariance `[D, D]`, as np.cov; UserError with fewer than two features."""
        if self.count < 2:
            raise UserError(f"{self.name}: {self.count} features have no covariance: give two images or more")
        return self.scatter / (self.count - 1)


def square_root(covariance):
    """R `[D, rank]` with R R^T = `covariance`. Directions of no more variance than rounding makes are left out: their
    square roots would not be small."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values.max() * len(values) * np.finfo(float).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    """Squared Frechet distance of two Gaussians, means `[D]`, covariances `[D, D]` (Heusel et al. 2017, eq. 6).

    |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)). With C = R R^T that last trace is the sum of the singular values
    of R_1^T R_2, so singular covariances (fewer images than D) need no care. UserError where shapes differ or a number
    is not finite.
    """
    mean_1, cov_1, mean_2, cov_2 = (np.asarray(a, np.float64) for a in (mean_1, cov_1, mean_2, cov_2))
    for name, mean, cov in (("first", mean_1, cov_1), ("second", mean_2, cov_2)):
        if mean.shape != mean_1.shape or cov.shape != 2 * mean.shape:
            raise UserError(
                f"{name} mean has shape {list(mean.shape)}, covariance {list(cov.shape)}, "
                f"the first mean {list(mean_1.shape)}: give [D], [D, D] of one D"
            )
        if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
            raise UserError(f"{name} mean or covariance is NaN or infinite: measure its features again")
    with threadpool_limits(1, user_api="blas"):  # threads gain these little, and where cores are shared cost much
        overlap = np.linalg.svd(square_root(cov_1).T @ square_root(cov_2), compute_uv=False).sum()
    distance = np.square(mean_1 - mean_2).sum() + np.trace(cov_1) + np.trace(cov_2) - 2 * overlap
    return float(max(distance, 0.0))
