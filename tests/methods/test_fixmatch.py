import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import (
    BATCH,
    CLASSES,
    SHARES,
    SIZES,
    U,
    X,
    assert_close,
    cross_entropy,
    one_hot,
    predicted,
    run,
    strong,
    weak,
)

from scoressl_jax.methods.fixmatch import FixMatch

P = predicted(weak(BATCH["x_u"]))
SURE = np.sort(P.max(1))
LABELED = cross_entropy(strong(BATCH["x"]), one_hot(BATCH["y"]))


@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_confident_predictions_of_weak_copies_are_labels_of_strong_ones(taken):
    threshold = float(1.0 if taken == 0 else SURE[-taken] - 1e-6)
    mask = P.max(1) >= threshold
    assert mask.sum() == taken
    pseudo = cross_entropy(strong(BATCH["x_u"]), one_hot(P.argmax(1)), mask)
    found, logs, _ = run(FixMatch(threshold=threshold, weight=2.0, alignment=False))
    assert_close(found, LABELED + 2 * pseudo)
    assert_close([logs[name] for name in ("ce", "pseudo", "pseudo_rate")], [LABELED[0], pseudo[0], taken / 5])


def test_the_threshold_is_inclusive():
    method = FixMatch(threshold=0.5, alignment=False)
    p = jnp.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.4, 0.3, 0.3]])
    assert method.labelled(p, method.start(SIZES))[1].tolist() == [1, 1, 0]


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_there_is_no_warm_up(progress):
    method = FixMatch(threshold=0.0, alignment=False)
    pseudo = cross_entropy(strong(BATCH["x_u"]), one_hot(P.argmax(1)))
    assert_close(run(method, progress)[0], LABELED + pseudo)


def test_labelled_images_may_be_weakly_augmented():
    pseudo = cross_entropy(strong(BATCH["x_u"]), one_hot(P.argmax(1)))
    found = run(FixMatch(threshold=0.0, alignment=False, strong_labels=False))[0]
    assert_close(found, cross_entropy(weak(BATCH["x"]), one_hot(BATCH["y"])) + pseudo)


def test_every_image_goes_through_the_network_at_once():
    shown = []
    run(FixMatch(), shown=shown)
    assert set(shown) == {3 + 5 + 5}


# Alignment and thresholds of the classes, which have a memory


def numpy_labelled(p, memory, decay, threshold, alignment, adaptive):
    """By loops: labels, mask and the memory that is left of `p [U, C]`."""
    mean, confidence = memory
    mean = np.array([decay * mean[c] + (1 - decay) * np.mean([row[c] for row in p]) for c in range(CLASSES)])
    confidence = decay * confidence + (1 - decay) * np.mean([max(row) for row in p])
    labels, mask = [], []
    for row in p:
        if alignment:
            row = row * SHARES / mean
            row = row / row.sum()
        label = int(np.argmax(row))
        limit = confidence * mean[label] / mean.max() if adaptive else threshold
        labels.append(label)
        mask.append(float(row[label] >= limit))
    return np.array(labels), np.array(mask), (mean, confidence)


@pytest.mark.parametrize(("alignment", "adaptive"), [(True, False), (False, True), (True, True)])
def test_the_memory_follows_the_predictions_over_several_steps(alignment, adaptive):
    method = FixMatch(threshold=0.6, weight=2.0, alignment=alignment, adaptive=adaptive, decay=0.7)
    memory, expected = None, (np.full(CLASSES, 1 / 3), 1 / 3)
    seen = []
    for step in range(4):
        indices = (U + 5 * step) % 12
        batch = BATCH | {"x_u": 3 * X[indices] - 1, "u": indices}
        p = predicted(weak(batch["x_u"]))
        labels, mask, expected = numpy_labelled(p, expected, 0.7, 0.6, alignment, adaptive)
        found, logs, memory = run(method, memory=memory, batch=batch)
        assert_close(found, LABELED + 2 * cross_entropy(strong(batch["x_u"]), one_hot(labels), mask))
        assert_close(logs["pseudo_rate"], mask.mean())
        assert_close(memory["mean"], expected[0])
        assert_close(memory["confidence"], expected[1])
        assert_close(memory["shares"], np.float32(SHARES))
        seen += [(mask.mean(), (labels != p.argmax(1)).sum())]
    assert 0 < np.mean([rate for rate, _ in seen]) < 1
    assert (sum(moved for _, moved in seen) > 0) == alignment


def test_it_starts_even():
    memory = FixMatch().start(SIZES)
    assert_close(memory["mean"], np.full(3, np.float32(1 / 3)))
    assert memory["confidence"] == np.float32(1 / 3)
    assert_close(memory["shares"], np.float32(SHARES))


def test_alignment_favours_classes_that_are_expected_more_often_than_they_are_predicted():
    memory = {"mean": jnp.array([0.8, 0.1, 0.1]), "confidence": jnp.array(0.5), "shares": jnp.array([0.2, 0.4, 0.4])}
    p = jnp.array([[0.6, 0.35, 0.05]])
    assert FixMatch(decay=1.0).labelled(p, memory)[0].tolist() == [1]
    assert FixMatch(decay=1.0, alignment=False).labelled(p, memory)[0].tolist() == [0]


def test_classes_that_are_predicted_less_have_lower_thresholds():
    memory = {"mean": jnp.array([0.6, 0.3, 0.1]), "confidence": jnp.array(0.8), "shares": jnp.ones(3) / 3}
    p = jnp.array([[0.79, 0.11, 0.1], [0.2, 0.5, 0.3], [0.3, 0.31, 0.39], [0.81, 0.1, 0.09]])  # limits .8, .4, .133
    method = FixMatch(decay=1.0, alignment=False, adaptive=True, threshold=0.99)
    assert method.labelled(p, memory)[1].tolist() == [0, 1, 1, 1]


def test_paper():
    """FixMatch's repository: seven times 64 unlabelled images, confidence .95, w_u 1, weak labelled ones."""
    method = FixMatch()
    assert (method.threshold, method.weight) == (0.95, 1.0)
    assert FixMatch.PAPER == {
        "unlabeled_batch_size": 7 * 64,
        "fixmatch.alignment": False,
        "fixmatch.strong_labels": False,
    }
    assert not method.adaptive
