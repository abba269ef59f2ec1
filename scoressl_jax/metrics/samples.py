"""How far samples lie from the training images and from each other."""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors

ROWS = 8192  # images that are held as floats at a time


def flatten(images):
    """float32 `[N, H W C]` in [0, 1]."""
    return np.divide(images, 255.0, dtype=np.float32).reshape(len(images), -1)


def nearest_training_images(samples, train, progress=lambda pairs: None):
    """Index into `train` and Euclidean distance of each sample's nearest training image (uint8 in, [0, 1] scale).
    `progress` is told how many pairs each block has."""
    blocks = (flatten(samples[start : start + ROWS]) for start in range(0, len(samples), ROWS))
    parts = [nearest_of_all(points, train, progress) for points in blocks]
    return tuple(np.concatenate(found) for found in zip(*parts, strict=True))


def nearest_of_all(points, train, progress=lambda pairs: None):
    """The same of points `[n, D]`; of equally near training images the first."""
    index, distance = np.zeros(len(points), int), np.full(len(points), np.inf)
    for start in range(0, len(train), ROWS):
        found, d = pairwise_distances_argmin_min(points, flatten(train[start : start + ROWS]))
        nearer = d < distance
        index[nearer], distance[nearer] = start + found[nearer], d[nearer]
        progress(len(points) * len(train[start : start + ROWS]))
    return index, distance


def distances(samples, sample_labels, train, test, progress=lambda pairs: None):
    """(medians, index of each sample's nearest training image). The medians tell copies and collapse apart from good
    samples: distance of samples and of test images to their nearest training image, and of samples to the nearest
    other sample of their class. `progress`: of nearest_training_images, for samples and test images."""
    between = [
        NearestNeighbors(n_neighbors=2).fit(same).kneighbors(same)[0][:, 1]
        for same in (flatten(samples[sample_labels == c]) for c in np.unique(sample_labels))
        if len(same) > 1
    ]
    nearest, to_train = nearest_training_images(samples, train, progress)
    medians = {
        "samples_to_train": to_train,
        "test_to_train": nearest_training_images(test, train, progress)[1],
    }
    if between:
        medians["between_samples"] = np.concatenate(between)
    return {name: float(np.median(values)) for name, values in medians.items()}, nearest
