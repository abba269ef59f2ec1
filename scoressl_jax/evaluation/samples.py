"""How samples relate to the training images, and the loss of the independent judge that names their classes."""

import jax
import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors

from scoressl_jax.losses.semi_supervised import cross_entropy

JUDGE_NOISE = 0.2  # std of the noise on a judge's training images: it generalises better, and samples are noisy too


def judge_loss(network, x, y, key):
    """Cross-entropy of a classifier of clean images with a little noise; x `[B, ...]` in [0, 1]."""
    logits, _ = network(x + JUDGE_NOISE * jax.random.normal(key, x.shape), judge_level(x))
    return cross_entropy(logits, y), {"accuracy": (logits.argmax(-1) == y).mean()}


def judge_level(x):
    """The log noise level that the judge is always told, `[B]`."""
    return np.full(x.shape[0], np.log(JUDGE_NOISE), np.float32)


def flatten(images):
    return np.asarray(images, np.float32).reshape(len(images), -1) / 255.0


def nearest_training_images(samples, train):
    """Index into `train` and Euclidean distance of each sample's nearest training image (uint8 in, [0, 1] scale)."""
    return pairwise_distances_argmin_min(flatten(samples), flatten(train))


def distances(samples, sample_labels, train, test):
    """(medians, index of each sample's nearest training image). The medians tell copies and collapse apart from good
    samples: distance of samples and of test images to their nearest training image, and of samples to the nearest
    other sample of their class."""
    between = [
        NearestNeighbors(n_neighbors=2).fit(same).kneighbors(same)[0][:, 1]
        for same in (flatten(samples[sample_labels == c]) for c in np.unique(sample_labels))
        if len(same) > 1
    ]
    nearest, to_train = nearest_training_images(samples, train)
    medians = {
        "samples_to_train": to_train,
        "test_to_train": nearest_training_images(test, train)[1],
    }
    if between:
        medians["between_samples"] = np.concatenate(between)
    return {name: float(np.median(values)) for name, values in medians.items()}, nearest
