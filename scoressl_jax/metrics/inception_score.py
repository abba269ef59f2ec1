"""Inception score of a classifier's predictions for generated images (Salimans et al. 2016)."""

import math

import numpy as np
from scipy.special import log_softmax, xlogy

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.frechet import checked

ROWS = 1024  # predictions in float64 at a time


def pieces(batches, split_size):
    """Float64 arrays `[n, C]` of at most ROWS predictions, each with whether a split ends with it."""
    left, classes = split_size, None
    for batch in [batches] if hasattr(batches, "ndim") else batches:
        batch = checked(batch, "predictions")
        classes = classes or batch.shape[1]
        if batch.shape[1] != classes:
            raise UserError(f"predictions: a batch of {batch.shape[1]} classes after {classes}: give one classifier's")
        start = 0
        while start < len(batch):
            size = min(ROWS, left, len(batch) - start)
            left -= size
            yield batch[start : start + size].astype(np.float64), left == 0
            start, left = start + size, left or split_size


def with_logarithm(piece, from_logits):
    """(p `[n, C]`, sum over classes of p log p `[n]`) of logits or probabilities."""
    if from_logits:
        log_p = log_softmax(piece, axis=1)
        p = np.exp(log_p)
        return p, (p * log_p).sum(1)
    if piece.min() < 0 or not np.allclose(piece.sum(1), 1, atol=1e-3):
        raise UserError("predictions: rows that are negative or do not add up to 1: from_logits=True takes logits")
    return piece, xlogy(piece, piece).sum(1)


def inception_score(batches, split_size=None, from_logits=True):
    """(mean, standard deviation) over splits of exp(mean over images of KL(p(y|x) || p(y))); between 1 and C.

    `batches` is an array `[N, C]` or an iterable of arrays `[n, C]`: logits, or probabilities with `from_logits=False`.
    One split holds everything, as in score_sde; with `split_size`, splits are that many predictions in their order, the
    last one maybe fewer: 5,000 is guided-diffusion's, and for 50,000 images the ten splits of Salimans et al. UserError
    without predictions, or where they are not finite, not probabilities, or of differing C.
    """
    if split_size is not None and split_size < 1:
        raise UserError(f"Inception score over splits of {split_size}: give 1 or more, or None for one split")
    scores, count, total, negentropy = [], 0, 0.0, 0.0

    def score():
        marginal = total / count
        return math.exp(negentropy / count - xlogy(marginal, marginal).sum())

    for piece, ends_split in pieces(batches, split_size or math.inf):
        p, p_log_p = with_logarithm(piece, from_logits)
        count, total, negentropy = count + len(p), total + p.sum(0), negentropy + p_log_p.sum()
        if ends_split:
            scores.append(score())
            count, total, negentropy = 0, 0.0, 0.0
    if count:
        scores.append(score())
    if not scores:
        raise UserError("predictions: none, but the Inception score needs 1 or more: give more images")
    return float(np.mean(scores)), float(np.std(scores))
