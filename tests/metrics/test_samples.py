import numpy as np
import pytest

from scoressl_jax.metrics import samples
from scoressl_jax.metrics.samples import distances, nearest_training_images


def image(*pixels):
    return np.asarray(pixels, np.uint8).reshape(1, 2, 1)


TRAIN = np.stack([image(0, 0), image(255, 255), image(0, 102)])


def test_nearest_training_images():
    drawn = np.stack([image(0, 60), image(255, 153), image(0, 0)])
    index, distance = nearest_training_images(drawn, TRAIN)
    np.testing.assert_array_equal(index, [2, 1, 0])
    np.testing.assert_allclose(distance, [42 / 255, 0.4, 0.0], atol=1e-6)
    far = nearest_training_images(np.stack([image(51, 0)]), np.stack([image(204, 204)]))[1]
    np.testing.assert_allclose(far, [np.hypot(0.6, 0.8)], rtol=1e-6)  # uint8 does not wrap round


def test_progress_counts_every_pair(monkeypatch):
    monkeypatch.setattr(samples, "ROWS", 2)
    told = []
    distances(TRAIN[[0, 1, 2, 0]], np.array([0, 0, 1, 1]), TRAIN, TRAIN[:1], told.append)
    assert told == [4, 2, 4, 2, 2, 1]  # four samples and one test image, each against three


def test_many_images_are_compared_part_by_part(monkeypatch):
    rng = np.random.default_rng(0)
    train, some = (rng.integers(0, 256, (n, 2, 2, 1)).astype(np.uint8) for n in (23, 9))
    train[20] = train[2] = some[4]
    index, distance = nearest_training_images(some, train)
    assert index[4] == 2  # of equally near ones the first
    monkeypatch.setattr(samples, "ROWS", 4)
    found = nearest_training_images(some, train)
    np.testing.assert_array_equal(found[0], index)
    np.testing.assert_allclose(found[1], distance, rtol=1e-6)


def test_medians_of_distances():
    drawn = np.stack([image(0, 0), image(0, 51), image(0, 255), image(255, 0), image(255, 204)])
    labels = np.asarray([0, 0, 0, 1, 1])
    test = np.stack([image(0, 51), image(255, 204), image(0, 204)])
    found, nearest = distances(drawn, labels, TRAIN, test)
    np.testing.assert_array_equal(nearest[[0, 2, 4]], [0, 2, 1])
    # to train: 0, 0.2, 0.6, 1, 0.2 ; test: 0.2, 0.2, 0.4 ; within classes: 0.2, 0.2, 0.8 and 0.8, 0.8
    assert found == pytest.approx({"samples_to_train": 0.2, "test_to_train": 0.2, "between_samples": 0.8}, abs=1e-6)


def test_copies_and_collapse_show():
    test = np.stack([image(100, 100), image(0, 60)])
    copies, _ = distances(TRAIN, np.zeros(3, int), TRAIN, test)
    assert copies["samples_to_train"] == pytest.approx(0, abs=1e-6)
    assert copies["between_samples"] > 0.3
    collapsed, _ = distances(np.stack([image(90, 10)] * 4), np.asarray([0, 0, 1, 1]), TRAIN, test)
    assert collapsed["between_samples"] == pytest.approx(0, abs=1e-6)
    assert collapsed["samples_to_train"] > 0.3


def test_a_class_with_one_sample_has_no_distance_between_samples():
    drawn, test = np.stack([image(0, 0), image(0, 51)]), TRAIN
    assert "between_samples" not in distances(drawn, np.asarray([0, 1]), TRAIN, test)[0]
    three, _ = distances(np.stack([image(0, 0), image(0, 51), image(255, 255)]), np.asarray([0, 0, 1]), TRAIN, test)
    assert three["between_samples"] == pytest.approx(0.2, abs=1e-6)
