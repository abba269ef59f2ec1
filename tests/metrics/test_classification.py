import subprocess
import sys
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from scoressl_jax.metrics.classification import (
    accuracy_all_noise,
    accuracy_area,
    accuracy_by_noise,
    calibration,
    class_table,
    diffuse,
    noise,
    noisy_logits,
)
from scoressl_jax.sde import VE, VP

rng = np.random.default_rng(0)
IMAGES = np.zeros((60, 2, 2, 1), np.uint8)
LABELS = np.arange(60) % 2
IMAGES[LABELS == 1] = 255
SDE = VE(0.01, 50.0)


def by_brightness(x, t):
    """The best classifier of black and white images."""
    mean = np.asarray(x).mean((1, 2, 3))
    return np.stack([0.5 - mean, mean - 0.5], axis=-1)


def unit_gradient(x, t, labels):
    """Norm 3 for label 1, norm 1 for label 0."""
    return np.zeros(x.shape) + (0.5 + labels).reshape(-1, 1, 1, 1)


# Accuracy by noise level


def test_diffused_images_have_the_marginal_of_their_time():
    images = np.full((40, 8, 8, 1), 51, np.uint8)  # 0.2
    for sde, t in ((VE(0.01, 50.0), 0.5), (VP(), 0.3)):
        x = diffuse(sde, images, np.full(40, t, np.float32), 0)
        if isinstance(sde, VE):
            alpha, std = 1.0, np.sqrt(0.01 * 50.0)
        else:
            alpha = np.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
            std = np.sqrt(1 - alpha**2)
        assert x.dtype == np.float32
        assert x.mean() == pytest.approx(0.2 * alpha, abs=4 * std / 50)
        assert x.std() == pytest.approx(std, rel=0.06)
    again, other = (diffuse(sde, images, np.full(40, t, np.float32), seed) for seed in (0, 1))
    np.testing.assert_array_equal(again, x)
    assert np.abs(other - x).max() > 0.1


def test_an_image_s_noise_is_its_part_of_a_whole_draw_bit_for_bit():
    whole = np.asarray(jax.random.normal(jax.random.key(3), (300, 3, 5, 2)))
    for indices in (range(300), [299, 0, 7, 7], [41]):
        np.testing.assert_array_equal(noise(3, indices, (3, 5, 2)), whole[list(indices)], strict=True)
    far = noise(3, [2**31 + 5, 5], (4, 1, 1))  # entries that 32 bits cannot number
    assert abs(far[0] - far[1]).max() > 0.1


@pytest.mark.parametrize("sde", [VE(0.01, 50.0), VP()])
def test_images_are_diffused_in_batches_as_all_at_once(sde):
    images, t = rng.integers(0, 256, (50, 3, 3, 1)).astype(np.uint8), rng.uniform(0, 1, 50).astype(np.float32)
    z = np.asarray(jax.random.normal(jax.random.key(4), images.shape))
    whole = np.asarray(sde.perturb(jnp.asarray(images) / 255.0, jnp.asarray(t), z))
    seen, times = [], []

    def predict(x, t):
        seen.append(x)
        times.append(t)
        return x.reshape(len(x), -1)

    logits = noisy_logits(predict, sde, images, t, 4, 16)
    assert [x.shape[0] for x in seen] == [16] * 4  # 48 and 2, filled up
    np.testing.assert_array_equal(logits, whole.reshape(50, -1))
    np.testing.assert_array_equal(np.concatenate(times)[:50], t)
    np.testing.assert_array_equal(diffuse(sde, images, t, 4), whole)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_test_set_needs_little_memory():
    """50,000 images of CIFAR-10's size, 147 MiB, in less than 1 GiB with JAX and all."""
    program = """
import jax, numpy as np
from scoressl_jax.metrics.classification import accuracy_all_noise, accuracy_by_noise
from scoressl_jax.sde import VE
images, labels = np.full((50_000, 32, 32, 3), 7, np.uint8), np.zeros(50_000, int)
predict = jax.jit(lambda x, t: x[:, 0, 0])
gradient = jax.jit(lambda x, t, y: x)
accuracy_all_noise(predict, VE(), images, labels, batch=500)
accuracy_by_noise(predict, gradient, VE(), images[:5000], labels[:5000], times=[0.5], batch=500)
# Not getrusage, whose peak begins with that of the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert int(found.stdout) * 1024 < 2**30


def test_accuracy_all_noise_is_over_uniform_times_and_fixed_by_the_seed():
    seen = []

    def early(x, t):
        """Class 0 before t = 0.5, class 1 after."""
        seen.append(t)
        return np.stack([0.5 - t, t - 0.5], axis=-1)

    found = accuracy_all_noise(early, SDE, IMAGES, 0 * LABELS, batch=20)
    times = np.concatenate(seen)
    assert times.shape == (60,)
    assert found == pytest.approx((times < 0.5).mean())
    assert kstest(times, "uniform").pvalue > 0.01

    first = [accuracy_all_noise(by_brightness, SDE, IMAGES, LABELS, batch=batch) for batch in (60, 60, 7)]
    assert len(set(first)) == 1  # whatever the batch size
    others = {accuracy_all_noise(by_brightness, SDE, IMAGES, LABELS, batch=60, seed=seed) for seed in range(1, 6)}
    assert len(others | {first[0]}) > 1
    assert 0.55 < first[0] < 0.97  # easy at low noise, a guess at sigma 50


def test_rows_of_accuracy_by_noise():
    calls = []

    def predict(x, t):
        calls.append(t[0])
        return by_brightness(x, t)

    rows = accuracy_by_noise(predict, unit_gradient, SDE, IMAGES, LABELS, times=[0.0, 0.5, 1.0], batch=25)
    assert [row["t"] for row in rows] == [0.0, 0.5, 1.0]
    np.testing.assert_allclose([row["sigma"] for row in rows], [0.01, np.sqrt(0.5), 50.0], rtol=1e-4)
    np.testing.assert_allclose(calls, [0.0] * 3 + [0.5] * 3 + [1.0] * 3)
    # Mean of four pixels: a threshold at 0.5 errs with probability Phi(-0.5 / (sigma / 2)).
    assert rows[0]["accuracy"] == 1
    assert rows[1]["accuracy"] == pytest.approx(0.921, abs=0.12)
    assert rows[2]["accuracy"] == pytest.approx(0.508, abs=0.22)
    # Labels of the first batch are 0 and 1 in turn: 13 gradients of norm 1 and 12 of norm 3.
    norm = (13 * 1 + 12 * 3) / 25
    np.testing.assert_allclose([row["guidance_norm"] for row in rows], [s["sigma"] * norm for s in rows], rtol=1e-6)


def test_noise_differs_from_time_to_time():
    seen = []

    def predict(x, t):
        seen.append((np.asarray(x) - IMAGES / 255.0) / float(SDE.marginal(jnp.asarray(t))[1][0]))
        return by_brightness(x, t)

    accuracy_by_noise(predict, unit_gradient, SDE, IMAGES, LABELS, times=[0.4, 0.6], batch=60)
    for a, b in pairwise(seen):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.3


def test_area_under_the_accuracy_curve():
    rows = [{"t": t, "accuracy": a} for t, a in ((0.1, 1.0), (0.5, 0.8), (1.0, 0.2))]
    # Two trapezoids: 0.9 over a length of 0.4 and 0.5 over 0.5.
    assert accuracy_area(rows) == pytest.approx((0.9 * 0.4 + 0.5 * 0.5) / 0.9)
    t = np.linspace(0.001, 1, 2001)
    rows = [{"t": x, "accuracy": np.exp(-x)} for x in t]
    assert accuracy_area(rows) == pytest.approx((np.exp(-0.001) - np.exp(-1)) / 0.999, rel=1e-6)


# Calibration


def test_calibration_by_hand():
    """Bins of a tenth: 0.95 0.95 0.91 (2 of 3 right), 0.62 (right), 0.55 (wrong)."""
    confidence = np.asarray([0.95, 0.95, 0.91, 0.62, 0.55])
    probabilities = np.stack([confidence, 1 - confidence], axis=-1)
    labels = np.asarray([0, 1, 0, 0, 1])
    ece, mean_confidence, mean_accuracy, count = calibration(probabilities, labels, bins=10)
    np.testing.assert_array_equal(count, [0, 0, 0, 0, 0, 1, 1, 0, 0, 3])
    np.testing.assert_allclose(mean_confidence[[5, 6, 9]], [0.55, 0.62, 2.81 / 3])
    np.testing.assert_allclose(mean_accuracy[[5, 6, 9]], [0.0, 1.0, 2 / 3])
    assert ece == pytest.approx((0.55 + 0.38 + 3 * (2.81 / 3 - 2 / 3)) / 5)


def test_calibration_of_true_probabilities_is_small_and_of_false_ones_is_not():
    p = rng.uniform(0.5, 1.0, 100_000)
    labels = (rng.uniform(size=len(p)) > p).astype(int)  # class 0 with probability p
    assert calibration(np.stack([p, 1 - p], -1), labels)[0] < 0.01
    bold = np.clip(p + 0.1, 0, 1)
    gap = (bold - p).mean()
    assert calibration(np.stack([bold, 1 - bold], -1), labels)[0] == pytest.approx(gap, abs=0.01)


def test_certain_predictions_fall_into_the_last_bin():
    ece, confidence, accuracy, count = calibration(np.eye(3)[[0, 1, 2, 2]], np.asarray([0, 1, 2, 0]))
    assert count[-1] == count.sum() == 4
    assert confidence[-1] == 1
    assert accuracy[-1] == 0.75
    assert ece == pytest.approx(0.25)


# Classes


def test_class_table_against_scikit_learn_class_by_class():
    labels, predictions = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    matrix, rows = class_table(predictions, labels, ["a", "b", "c"])
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    for c, row in enumerate(rows):
        mine, hit = labels == c, predictions == c
        assert row["precision"] == pytest.approx(precision_score(mine, hit))
        assert row["recall"] == pytest.approx(recall_score(mine, hit))
        assert row["f1"] == pytest.approx(f1_score(mine, hit))
        assert row["count"] == mine.sum()
        for d in range(3):
            assert matrix[c, d] == (mine & (predictions == d)).sum()  # rows are true classes
    assert np.trace(matrix) / 200 == pytest.approx(accuracy_score(labels, predictions))


def test_class_table_keeps_classes_that_do_not_occur():
    matrix, rows = class_table(np.asarray([0, 0, 2]), np.asarray([0, 2, 2]), ["a", "b", "c"])
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 0, 0], [1, 0, 1]])
    assert rows[1] == {"class": "b", "precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0}
    assert rows[0]["precision"] == 0.5
    assert rows[2]["recall"] == 0.5


def test_compiled_predictions_work_too():
    predict = jax.jit(lambda x, t: jnp.stack([0.5 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.5], -1))
    measured = dict(times=[0.6], batch=60)
    clean = [accuracy_by_noise(f, unit_gradient, SDE, IMAGES, LABELS, **measured) for f in (predict, by_brightness)]
    assert clean[0] == clean[1]
