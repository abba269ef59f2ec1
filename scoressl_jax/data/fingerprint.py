"""What a data set holds, as short texts that are equal for equal contents: whatever the file, its name or its time.

The order of the images does not count, so that labelling an image, which moves it to another folder, leaves the images
what they were.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from scoressl_jax.data.dataset import UNLABELED, Dataset

LENGTH = 20  # hexadecimal digits of a fingerprint


def of_images(images: np.ndarray) -> list[bytes]:
    """A digest of each image, uint8 `[N, H, W, C]`."""
    shape = str(images.shape[1:]).encode()
    return [hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest() for image in images]


def of_pairs(digests: Iterable[bytes], labels: np.ndarray) -> list[bytes]:
    """A digest of each image with its label, int `[N]`."""
    pairs = zip(digests, labels, strict=True)
    return [digest + int(label).to_bytes(4, "little", signed=True) for digest, label in pairs]


def together(digests: Iterable[bytes]) -> str:
    whole = hashlib.blake2b(digest_size=LENGTH // 2)
    for digest in sorted(digests):
        whole.update(digest)
    return whole.hexdigest()


def shared(dataset: Dataset) -> list[str]:
    """What a reader should know of images that come twice, each a clause: test images among the training images, and
    training images that have several labels."""
    train = of_images(dataset.x_train)
    twice = len(set(of_images(dataset.x_test)) & set(train))
    labels = {}
    for digest, label in zip(train, dataset.y_train.tolist(), strict=True):
        labels.setdefault(digest, set()).add(label)
    unsure = sum(len(found - {UNLABELED}) > 1 for found in labels.values())
    told = {"test images that are among the training images too": twice, "training images with several labels": unsure}
    return [f"{count:,} {what}" for what, count in told.items() if count]


def fingerprint(dataset: Dataset, y_visible: np.ndarray) -> dict[str, str]:
    """{part: fingerprint} of a data set as a run sees it; `y_visible [N]` are the labels that training may see.

    images: those to train on. labels: with the labels that training sees. true_labels: with every label there is, by
    which judges are trained. test: test images with their labels. classes: their names.
    """
    train, test = of_images(dataset.x_train), of_images(dataset.x_test)
    return {
        "images": together(train),
        "labels": together(of_pairs(train, y_visible)),
        "true_labels": together(of_pairs(train, dataset.y_train)),
        "test": together(of_pairs(test, dataset.y_test)),
        "classes": hashlib.blake2b(repr(tuple(dataset.class_names)).encode(), digest_size=LENGTH // 2).hexdigest(),
    }
