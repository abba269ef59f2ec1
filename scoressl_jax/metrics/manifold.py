"""Precision, recall, density and coverage of samples, from nearest neighbours (Kynkaanniemi et al. 2019, Naeem et al.
2020).

Squared distances come tile by tile from a matrix product, in float32 where there are many. What rounding could change,
that is the neighbours that set a radius and the pairs at the edge of a ball, is decided by differences in float64;
where float32 cannot tell the neighbours, as in tight clusters far apart, the products are repeated in float64. So
neither the precision nor the size of the tiles changes a result.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.frechet import checked, checked_pair

BLOCK = 2048  # rows and columns of a tile
FLOAT64_UP_TO = 2**33  # N * M * D: a second or so
ROUNDING = 32  # error of a squared distance over eps times the squared norms; measured: 7 at most
SPARE = 4  # candidates beyond the k nearest, as rounding may swap some
WORKERS = 32  # each holds a tile and its masks, 30 MB
QUIET_UP_TO = 32  # tiles, that is a few seconds, without a progress bar
INSIDE = {"prdc": np.less, "guided_diffusion": np.less_equal}


class Centred:
    """`values [N, D]` round a centre, so that rounding is small, and their squared norms `squares [N]`."""

    def __init__(self, x, centre, dtype):
        self.values = x.astype(dtype)
        self.values -= centre.astype(dtype)
        self.squares = np.einsum("nd,nd->n", self.values, self.values, dtype=np.float64).astype(dtype)

    def tile(self, other, rows, columns):
        """(squared distances of these rows to those columns of `other`, the error that rounding may make)."""
        x2, y2 = self.squares[rows], other.squares[columns]
        d2 = self.values[rows] @ other.values[columns].T
        d2 *= -2
        d2 += x2[:, None]
        d2 += y2
        return d2, self.error(x2.max(), other, columns)

    def error(self, squares, other, columns=slice(None)):
        """What rounding may change squared distances by, from points of these squared norms to `other`'s columns."""
        return ROUNDING * np.finfo(self.values.dtype).eps * (squares + other.squares[columns].max())


def precise_enough(x, y):
    """Precision of the matrix products of `x [N, D]` and `y [M, D]`."""
    return np.float64 if len(x) * len(y) * x.shape[1] <= FLOAT64_UP_TO else np.float32


def exact(x, y, rows, columns):
    """Squared distances of the pairs x[rows], y[columns] from differences in float64, `[pairs]`."""
    d2 = np.empty(len(rows))
    step = max(1, 2**20 // x.shape[1])
    for part in (slice(start, start + step) for start in range(0, len(rows), step)):
        difference = x[rows[part]].astype(np.float64) - y[columns[part]]
        d2[part] = np.einsum("nd,nd->n", difference, difference)
    return d2


def blocks(count, size):
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def positions(mask):
    """Row and column of what is true in `mask [n, m]`; where little is, this is far faster than np.nonzero."""
    return np.divmod(np.flatnonzero(mask), mask.shape[1])


def in_parallel(function, tiles, name):
    """function(tile) for each tile in order, on every core: each worker multiplies alone."""
    workers = min(WORKERS, os.cpu_count(), len(tiles))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        try:
            yield from tqdm(
                pool.map(function, tiles),
                total=len(tiles),
                desc=name,
                unit="tile",
                file=sys.stdout,
                disable=len(tiles) <= QUIET_UP_TO,
            )
        finally:
            pool.shutdown(cancel_futures=True)  # a run that is stopped does not wait for the rest


def merge(nearest, distance, row, column, d2):
    """Put pairs (row, column) at squared distances d2 among the nearest of each row, `[n, count]`, in place."""
    n, count = nearest.shape
    row = np.concatenate([np.repeat(np.arange(n), count), row])
    column, d2 = np.concatenate([nearest.ravel(), column]), np.concatenate([distance.ravel(), d2])
    order = np.lexsort((d2, row))
    first = np.searchsorted(row[order], np.arange(n))
    taken = order[first[:, None] + np.arange(count)]
    nearest[:], distance[:] = column[taken], d2[taken]


def nearest_others(x, count, block, dtype):
    """Index of the `count` nearest others of each of `x [N, D]`, by distances as rounded, `[N, count]`; and what the
    squared distances of those left out are not below, for all that rounding does, `[N]`."""
    points = Centred(x, x.mean(0, dtype=np.float64), dtype)
    nearest, distance = np.zeros((len(x), count), int), np.full((len(x), count), np.inf, dtype)

    def closer(tile):
        """What may be among the nearest, for the rows and for the columns: (points, which of them, nearest, d2)."""
        rows, columns = tile
        d2, _ = points.tile(points, rows, columns)
        if rows == columns:
            np.fill_diagonal(d2, np.inf)
            column = np.argpartition(d2, min(count, len(d2)) - 1, axis=1)[:, :count]
            row, column = np.repeat(np.arange(len(d2)), column.shape[1]), column.ravel()
            return [(rows, row, rows.start + column, d2[row, column])]
        row, column = positions(d2 < distance[rows, -1:])
        for_rows = rows, row, columns.start + column, d2[row, column]
        row, column = positions(d2 < distance[columns, -1])
        return [for_rows, (columns, column, rows.start + row, d2[row, column])]

    parts = blocks(len(x), block)
    # The diagonal first: from then on few pairs are closer than the nearest so far.
    for found in in_parallel(closer, [(b, b) for b in parts] + list(combinations(parts, 2)), "neighbours"):
        for part, *pairs in found:
            merge(nearest[part], distance[part], *pairs)
    left_out = distance[:, -1] - points.error(points.squares, points)
    return nearest, left_out if count < len(x) - 1 else np.inf


def squared_radius(x, k, block=BLOCK):
    """(squared distance of each of `x [N, D]` to its k-th nearest other one, float64 `[N]`; the precision it took)."""
    for dtype in (precise_enough(x, x), np.float64):
        nearest, left_out = nearest_others(x, min(k + SPARE, len(x) - 1), block, dtype)
        d2 = exact(x, x, np.repeat(np.arange(len(x)), nearest.shape[1]), nearest.ravel()).reshape(nearest.shape)
        radius2 = np.partition(d2, k - 1, axis=1)[:, k - 1]
        if dtype == np.float64 or (radius2 <= np.maximum(left_out, 0)).all():
            break
    return radius2, dtype


def neighbour_radius(x, k):
    """Distance of each of `x [N, D]` to its k-th nearest other one, `[N]`; UserError unless N > k."""
    return np.sqrt(squared_radius(checked(x, "points", k + 1, f"k={k} nearest neighbours"), k)[0])


def pairs_in_balls(real, samples, real_radius2, sample_radius2, inside, block, dtype):
    """Yields, tile by tile, the pairs (real, sample) whose sample lies in the real one's ball, as two index arrays, and
    the index of each real one in a sample's ball."""
    centre = real.mean(0, dtype=np.float64)
    x, y = Centred(real, centre, dtype), Centred(samples, centre, dtype)

    def found(tile):
        rows, columns = tile
        d2, error = x.tile(y, rows, columns)

        def within(radius2):
            row, column = positions(d2 <= (radius2 + error).astype(dtype))
            squares, radius2 = d2[row, column].astype(np.float64), np.broadcast_to(radius2, d2.shape)[row, column]
            row, column = rows.start + row, columns.start + column
            edge = squares >= radius2 - error
            squares[edge] = exact(real, samples, row[edge], column[edge])
            inner = inside(squares, radius2)
            return row[inner], column[inner]

        return *within(real_radius2[rows, None]), within(sample_radius2[columns])[0]

    yield from in_parallel(found, list(product(blocks(len(real), block), blocks(len(samples), block))), "balls")


def precision_recall(real, samples, k=5, convention="prdc", block=BLOCK):
    """{"precision", "recall", "density", "coverage"} of `samples [M, D]` against `real [N, D]`, each with more than k.

    A ball round each point reaches to its k-th nearest other one of its own kind. precision: share of samples inside
    any real ball; recall: share of real points inside any sample's ball; density: real balls that hold a sample, over
    k, mean over samples; coverage: share of real balls that hold a sample. What lies at a ball's edge is outside with
    the convention "prdc" (Naeem et al. 2020), inside with "guided_diffusion" (Dhariwal and Nichol 2021, there k=3 and
    the first two only). `block` rows and columns of distances are held at a time for each core. UserError where a set
    has k points or fewer, numbers are not finite, or D differs.
    """
    if convention not in INSIDE or k < 1:
        raise UserError(f"k={k}, convention {convention!r}: give k of 1 or more and one of {', '.join(INSIDE)}")
    real, samples = checked_pair(real, samples, k + 1, f"k={k} nearest neighbours")
    (real_radius2, real_dtype), (sample_radius2, sample_dtype) = (squared_radius(x, k, block) for x in (real, samples))
    dtype = np.result_type(precise_enough(real, samples), real_dtype, sample_dtype)
    balls = np.zeros(len(samples), int)
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for i, j, r in pairs_in_balls(real, samples, real_radius2, sample_radius2, INSIDE[convention], block, dtype):
        balls += np.bincount(j, minlength=len(samples))
        covered[i] = recalled[r] = True
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls.mean() / k),
        "coverage": float(covered.mean()),
    }
