"""How far samples lie from the training images and from each other."""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors


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
