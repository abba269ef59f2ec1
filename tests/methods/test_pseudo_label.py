import numpy as np
import pytest
from fake_learner import BATCH, assert_close, cross_entropy, one_hot, predicted, run, weak

from scoressl_jax.methods.pseudo_label import PseudoLabel

UNLABELED = weak(BATCH["x_u"])
P = predicted(UNLABELED)
LABELED = cross_entropy(weak(BATCH["x"]), one_hot(BATCH["y"]))
SURE = np.sort(P.max(1))  # thresholds between these take away one image after the other


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_confident_predictions_are_labels_of_the_same_view(taken):
    threshold = float(1.0 if taken == 0 else SURE[-taken] - 1e-6)
    mask = P.max(1) >= threshold
    assert mask.sum() == taken
    pseudo = cross_entropy(UNLABELED, one_hot(P.argmax(1)), mask)
    found, logs, memory = run(PseudoLabel(weight=3.0, threshold=threshold), strong=lambda x, key: 0 * x)
    assert_close(found, LABELED + 3 * pseudo)
    assert_close([logs[name] for name in ("ce", "pseudo", "pseudo_rate")], [LABELED[0], pseudo[0], taken / 5])
    assert memory == ()


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.9, 1.0)])
def test_the_weight_rises_linearly(progress, share):
    pseudo = cross_entropy(UNLABELED, one_hot(P.argmax(1)))
    assert_close(run(PseudoLabel(weight=3.0, warm_up=0.2, threshold=0.0), progress)[0], LABELED + 3 * share * pseudo)


def test_every_image_goes_through_the_network_at_once():
    shown = []
    run(PseudoLabel(), shown=shown)
    assert set(shown) == {3 + 5}


def test_paper():
    """USB's yaml: unlabelled images as the batch of 64, threshold .95, weight 1, warm-up .4."""
    method = PseudoLabel()
    assert (method.weight, method.warm_up, method.threshold) == (1.0, 0.4, 0.95)
    assert PseudoLabel.PAPER == {"unlabeled_batch_size": 64}
