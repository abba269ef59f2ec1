"""Labels spread over a graph of images that look alike (LaplaceNet, Sellars et al. 2022; Iscen et al. 2019).

`graph(*neighbours(features, k))`, then `propagate`, `class_mass`, `certainty`. Arrays are NumPy's: the neighbours are
found on the device, and sparse products are SciPy's, eight times as fast on a CPU as sums over edges in XLA.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

GROUP = 32  # similarities of which the greatest stands for all in a first choice


def neighbours(features, k, block=256):
    """(indices int32, cosine similarities float32), each `[N, k]`, of every row's nearest other rows of `features`
    `[N, F]`, nearest first; exact. All other rows where there are fewer than k. `block` rows are compared at a time."""
    features = np.asarray(features, np.float32)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count, k = len(features), min(k, len(features) - 1)
    block = min(block, count)
    everything, found = jnp.asarray(features), []
    for start in range(0, count, block):
        first = min(start, count - block)  # a last block of the same size is compiled already
        found.append([np.asarray(a)[start - first :] for a in _nearest(everything, first, block, k)])
    indices, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return indices.astype(np.int32), similarities


@partial(jax.jit, static_argnums=(2, 3))
def _nearest(features, first, block, k):
    """The k greatest similarities of rows first .. first + block. They lie in the k groups of the greatest maxima, so
    that no more than k GROUP are ordered, in half the time."""
    similarities = jax.lax.dynamic_slice_in_dim(features, first, block) @ features.T
    itself = first + jnp.arange(block)
    similarities = similarities.at[jnp.arange(block), itself].set(-jnp.inf)
    padding = ((0, 0), (0, -len(features) % GROUP))
    groups = jnp.pad(similarities, padding, constant_values=-jnp.inf).reshape(block, -1, GROUP)
    _, chosen = jax.lax.top_k(groups.max(2), min(k, groups.shape[1]))
    candidates = jnp.take_along_axis(groups, chosen[..., None], axis=1).reshape(block, -1)
    greatest, at = jax.lax.top_k(candidates, k)
    return jnp.take_along_axis(chosen, at // GROUP, axis=1) * GROUP + at % GROUP, greatest


def graph(indices, similarities, power=3.0):
    """The normalised weights D^-1/2 W D^-1/2, a sparse `[N, N]`: W = max(A, A^T), A the clip(similarity, 0)^power of
    the neighbours `[N, k]`, with an empty diagonal. A row without weight counts as of degree 1."""
    count, k = indices.shape
    weights = np.clip(similarities, 0, None).astype(np.float64) ** power
    weights = np.where(indices == np.arange(count)[:, None], 0, weights)
    edges = (np.repeat(np.arange(count), k), indices.ravel())
    whole = sparse.coo_matrix((weights.ravel(), edges), (count, count)).tocsr()
    whole = whole.maximum(whole.T)
    degree = np.asarray(whole.sum(1)).ravel()
    scale = sparse.diags(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    return (scale @ whole @ scale).tocsr()


def propagate(graph, y, labeled, classes, alpha=0.99, steps=30, tolerance=1e-3):
    """Class shares `[N, classes]` of every image: rows of max(Z, 0), (I - alpha graph) Z = Y, divided by their sums.

    `labeled` are indices or a mask, Y is one-hot in their rows of `y` `[N]`, which alone are read, and so is the
    result. Conjugate gradients stop when the residual of each class is below `tolerance` of its right side, or after
    `steps`. Images that no label reaches have equal shares.
    """
    count = graph.shape[0]
    rows = np.arange(count)[labeled]
    known = np.zeros((count, classes))
    known[rows, np.asarray(y)[rows]] = 1
    z = conjugate_gradients(lambda p: p - alpha * (graph @ p), known, steps, tolerance)
    z = np.maximum(z, 0)
    total = z.sum(1, keepdims=True)
    z = np.where(total > 0, z / np.where(total > 0, total, 1), 1 / classes)
    z[rows] = known[rows]
    return z


def conjugate_gradients(product, b, steps, tolerance):
    """Z of product(Z) = b, both `[N, C]`, a symmetric positive product; each column by itself."""
    z, residual, direction = np.zeros_like(b), b.copy(), b.copy()
    size = (b**2).sum(0)
    enough = tolerance**2 * size
    for _ in range(steps):
        going = size > enough
        if not going.any():
            break
        image = product(direction)
        length = np.where(going, size / np.where(going, (direction * image).sum(0), 1), 0)
        z += length * direction
        residual -= length * image
        before, size = size, (residual**2).sum(0)
        direction = residual + np.where(going, size / np.where(going, before, 1), 0) * direction
    return z


def class_mass(z, prior, rounds=100, clip=0.01):
    """Shares `[N, C]` of unlabelled images, brought nearer to the class prior `[C]`: in each round every class is
    multiplied by prior / its share of the argmaxes, clipped to 1 +- `clip`, and the rows are divided by their sums."""
    z, prior = np.array(z, np.float64), np.asarray(prior, np.float64)
    for _ in range(rounds):
        share = np.bincount(z.argmax(1), minlength=z.shape[1]) / len(z)
        z *= np.clip(prior / (share + 1e-7), 1 - clip, 1 + clip)
        z /= z.sum(1, keepdims=True)
    return z


def certainty(z):
    """1 - entropy / log C of the rows of shares `[N, C]`: 1 where one class has all, 0 where they are equal, `[N]`."""
    entropy = -(z * np.log(np.maximum(z, 1e-30))).sum(1)
    return np.clip(1 - entropy / np.log(z.shape[1]), 0, 1)
