"""Inception score against scipy's entropy."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.inception_score import inception_score

LOGITS = np.random.default_rng(0).normal(0, 3, size=(2500, 7)).astype(np.float32)


def brute_force(logits):
    p = softmax(logits.astype(np.float64), axis=1)
    return np.exp(np.mean(entropy(p, p.mean(0, keepdims=True), axis=1)))


def test_all_predictions_are_one_split():
    assert inception_score(LOGITS) == (pytest.approx(brute_force(LOGITS), rel=1e-10), 0)


@pytest.mark.parametrize("size", [1000, 1024, 1100])
def test_splits_follow_the_order_and_the_last_may_be_shorter(size):
    scores = [brute_force(LOGITS[start : start + size]) for start in range(0, 2500, size)]
    assert inception_score(LOGITS, split_size=size) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-10)


@pytest.mark.parametrize("split_size", [None, 700])
def test_batches_do_not_matter(split_size):
    batches = np.split(LOGITS, [1, 40, 1500])
    whole = inception_score(LOGITS, split_size)
    assert inception_score(iter(batches), split_size) == pytest.approx(whole, rel=1e-12)


def test_probabilities_and_logits_agree_with_some_zero():
    p = softmax(LOGITS, axis=1)
    assert inception_score(p, from_logits=False)[0] == pytest.approx(brute_force(LOGITS), rel=1e-5)
    sure = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]  # certain, and of all classes alike: the largest score there is
    assert inception_score(sure, from_logits=False)[0] == pytest.approx(4, rel=1e-12)
    assert inception_score(np.log(sure + 1e-300))[0] == pytest.approx(4, rel=1e-12)


def test_the_same_prediction_for_all_images_is_worth_one():
    assert inception_score(np.repeat(LOGITS[:1], 50, 0))[0] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "predictions: none"),
        ([LOGITS, LOGITS[:, :5]], {}, "5 classes after 7"),
        (LOGITS, {"from_logits": False}, "from_logits=True"),
        (LOGITS * np.inf, {}, "2500 of 2500 features are NaN or infinite"),
        (LOGITS, {"split_size": 0}, "splits of 0"),
    ],
)
def test_bad_input_is_one_line(batches, options, message):
    with pytest.raises(UserError, match=message) as caught:
        inception_score(batches, **options)
    assert "\n" not in str(caught.value)
