import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.evaluation.samples import JUDGE_NOISE, distances, judge_level, judge_loss, nearest_training_images


def image(*pixels):
    return np.asarray(pixels, np.uint8).reshape(1, 2, 1)


TRAIN = np.stack([image(0, 0), image(255, 255), image(0, 102)])


def test_nearest_training_images():
    samples = np.stack([image(0, 60), image(255, 153), image(0, 0)])
    index, distance = nearest_training_images(samples, TRAIN)
    np.testing.assert_array_equal(index, [2, 1, 0])
    np.testing.assert_allclose(distance, [42 / 255, 0.4, 0.0], atol=1e-6)
    far = nearest_training_images(np.stack([image(51, 0)]), np.stack([image(204, 204)]))[1]
    np.testing.assert_allclose(far, [np.hypot(0.6, 0.8)], rtol=1e-6)  # uint8 does not wrap round


def test_medians_of_distances():
    samples = np.stack([image(0, 0), image(0, 51), image(0, 255), image(255, 0), image(255, 204)])
    labels = np.asarray([0, 0, 0, 1, 1])
    test = np.stack([image(0, 51), image(255, 204), image(0, 204)])
    found, nearest = distances(samples, labels, TRAIN, test)
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
    samples, test = np.stack([image(0, 0), image(0, 51)]), TRAIN
    assert "between_samples" not in distances(samples, np.asarray([0, 1]), TRAIN, test)[0]
    three, _ = distances(np.stack([image(0, 0), image(0, 51), image(255, 255)]), np.asarray([0, 0, 1]), TRAIN, test)
    assert three["between_samples"] == pytest.approx(0.2, abs=1e-6)


def test_judge_sees_a_little_noise_and_is_told_so():
    x, y = np.full((500, 2, 2, 1), 0.5, np.float32), np.arange(500) % 3

    def network(x, log_sigma):
        return x.reshape(500, 4)[:, :3], (x, log_sigma)

    seen = []

    def spying(x, log_sigma):
        seen.append((x, log_sigma))
        return network(x, log_sigma)

    def run(key):
        seen.clear()
        return judge_loss(spying, jnp.asarray(x), jnp.asarray(y), key), seen[0]

    (loss, logs), (noisy, level) = jax.jit(run)(jax.random.key(0))
    assert np.std(noisy) == pytest.approx(JUDGE_NOISE, rel=0.06)
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.005)
    np.testing.assert_allclose(level, np.log(JUDGE_NOISE), rtol=1e-6)
    np.testing.assert_allclose(judge_level(x), level, rtol=1e-6)
    logits = np.asarray(noisy, np.float64).reshape(500, 4)[:, :3]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(500), y]).mean(), rel=1e-4)
    assert logs["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())
