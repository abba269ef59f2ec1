import jax
import numpy as np
import pytest
from fake_learner import BATCH, SIZES, assert_close, flat, run, strong, weak
from log_odds import partial_risks

from scoressl_jax.methods.punce import PuNCE

PRIOR = 0.1
IMAGES = np.concatenate([BATCH["x"], BATCH["x_u"]])  # three labelled positives, then five unlabelled images
METHOD = PuNCE(temperature=0.3, first=0.5)
MEMORY = METHOD.start(SIZES._replace(prior=PRIOR))


def numpy_punce(one, other, positives, prior, temperature):
    """The paper's loss, view by view."""
    z = np.concatenate([flat(one), flat(other)])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    count, total = len(one), 0.0
    for i in range(2 * count):
        others = [j for j in range(2 * count) if j != i]
        sums = sum(np.exp(z[i] @ z[j] / temperature) for j in others)
        cost = {j: np.log(sums) - z[i] @ z[j] / temperature for j in others}
        own = (i + count) % (2 * count)
        labeled = [j for j in others if j % count < positives]
        if i % count < positives:
            total += np.mean([cost[j] for j in labeled])
        else:
            total += prior * np.mean([cost[j] for j in [*labeled, own]]) + (1 - prior) * cost[own]
    return total / (2 * count)


def keyed(x, key):
    return strong(x) + jax.random.normal(key, x.shape)


@pytest.mark.parametrize("progress", [0.0, 0.49])
def test_first_the_features_of_two_copies_are_compared(progress):
    """Features of the learner here are the images themselves, which no parameter changes."""
    found, logs, _ = run(METHOD, progress, MEMORY)
    expected = numpy_punce(strong(IMAGES), strong(IMAGES), 3, PRIOR, 0.3)
    assert_close(found[0], expected)
    assert_close(logs["contrast"], expected)
    assert not found[1:].any()


def test_the_copies_are_two():
    same = run(METHOD, 0.0, MEMORY)[0][0]
    found = run(METHOD, 0.0, MEMORY, strong=keyed)[0][0]
    assert abs(found - same) > 0.01
    with jax.enable_x64(True):
        one, other = (np.asarray(keyed(IMAGES, k)) for k in jax.random.split(jax.random.key(0, impl="unsafe_rbg")))
    assert_close(found, numpy_punce(one, other, 3, PRIOR, 0.3))


@pytest.mark.parametrize("progress", [0.5, 1.0])
def test_then_it_is_nnpu_of_both_copies(progress):
    method = PuNCE(first=0.5, beta=0.02, gamma=0.7, logistic=True)
    for prior in (PRIOR, 1.0):
        of_positives, of_negatives = partial_risks(strong(BATCH["x"]), strong(BATCH["x_u"]), prior, "logistic")
        found, logs, _ = run(method, progress, method.start(SIZES._replace(prior=prior)))
        assert_close([logs["positives"], logs["negatives"]], [of_positives[0], of_negatives[0]])
        if of_negatives[0] < -0.02:
            assert_close(found, np.r_[of_positives[0] - 0.02, -0.7 * of_negatives[1:]])
        else:
            assert_close(found, of_positives + of_negatives)


def test_every_image_goes_through_the_network_twice_and_at_once():
    shown = []
    run(METHOD, memory=MEMORY, shown=shown)
    assert set(shown) == {2 * (3 + 5)}


def test_images_may_be_weakly_augmented():
    method = PuNCE(strong=False)
    expected = numpy_punce(weak(IMAGES), weak(IMAGES), 3, PRIOR, 0.5)
    assert_close(run(method, 0.0, MEMORY)[0][0], expected)


def test_paper():
    """puNCE's repository: temperature .5, batches of 1,024 for 300 passes over MNIST's 60,000 images."""
    paper = PuNCE.PAPER
    assert PuNCE().temperature == 0.5
    assert paper["batch_size"] + paper["unlabeled_batch_size"] == 1024
    assert paper["batch_size"] / 1024 == pytest.approx(1000 / 60_000, rel=0.01)
    assert paper["steps"] == pytest.approx(300 * 60_000 / 1024, rel=0.01)
    assert paper["weight_decay"] == 1e-4
    assert PuNCE.needs_prior
