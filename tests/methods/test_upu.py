import numpy as np
import pytest
from fake_learner import BATCH, SIZES, assert_close, run, strong, weak
from log_odds import LOSSES, log_odds, partial_risks

from scoressl_jax.methods.upu import UPU

PRIOR = 0.4
POSITIVE = {"x": strong(BATCH["x"]), "x_u": strong(BATCH["x_u"])}


def start(method, prior=PRIOR):
    return method.start(SIZES._replace(prior=prior))


@pytest.mark.parametrize("kind", LOSSES)
def test_it_is_the_unbiased_risk(kind):
    method = UPU(logistic=kind == "logistic")
    of_positives, of_negatives = partial_risks(*POSITIVE.values(), PRIOR, kind)
    found, logs, memory = run(method, memory=start(method))
    assert_close(found, of_positives + of_negatives)
    assert_close([logs["positives"], logs["negatives"]], [of_positives[0], of_negatives[0]])
    assert_close(memory["prior"], np.float32(PRIOR))


def test_the_risk_may_be_negative():
    low, high = sorted([4 - 9 * BATCH["x"], 5 * BATCH["x_u"]], key=lambda x: log_odds(strong(x)).mean())
    method = UPU(logistic=True)
    found = run(method, memory=start(method, 0.9), batch=BATCH | {"x": high, "x_u": low})[0]
    assert_close(found, sum(partial_risks(strong(high), strong(low), 0.9, "logistic")))
    assert found[0] < 0


def test_images_may_be_weakly_augmented():
    method = UPU(strong=False)
    expected = sum(partial_risks(weak(BATCH["x"]), weak(BATCH["x_u"]), PRIOR, "sigmoid"))
    assert_close(run(method, memory=start(method))[0], expected)


def test_every_image_goes_through_the_network_at_once():
    shown, method = [], UPU()
    run(method, memory=start(method), shown=shown)
    assert set(shown) == {3 + 5}


def test_paper():
    """exp-mnist of nnPU's repository: 61,000 images, 1,000 of them labelled, in two batches; Adam, .001."""
    paper = UPU.PAPER
    assert paper["batch_size"] + paper["unlabeled_batch_size"] == 30_000
    assert paper["batch_size"] / 30_000 == pytest.approx(1000 / 61_000, rel=0.02)
    assert paper["steps"] == 2 * 100
    assert (paper["learning_rate"], paper["weight_decay"], paper["schedule"]) == (1e-3, 0.005, "constant")
    assert (paper["upu.strong"], paper["shift"]) == (False, 0)
    assert not UPU().logistic
    assert UPU.needs_prior
