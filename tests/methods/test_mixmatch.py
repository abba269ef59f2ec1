import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import (
    BATCH,
    assert_close,
    cross_entropy,
    key_of,
    one_hot,
    predicted,
    quick,
    run,
    squared_difference,
    strong,
    weak,
)

from scoressl_jax.methods.mixmatch import MixMatch


def noisy(x, key):
    return 2 * x + jax.random.uniform(key, x.shape, jnp.float32)


def sharpened(p, temperature):
    powered = p ** (1 / temperature)
    return powered / powered.sum(1, keepdims=True)


def drawn(key, alpha, count):
    """(images of x, of both copies, lambda [count], partners) that the method's key stands for."""
    with jax.enable_x64(True):
        key_x, key_one, key_other, key_mix = jax.random.split(key_of(key), 4)
        copies = [noisy(jnp.asarray(BATCH["x_u"]), k) for k in (key_one, key_other)]
        key_share, key_order = jax.random.split(key_mix)
        share = np.asarray(quick(lambda k: jax.random.beta(k, alpha, alpha, (count,)), key_share))
        order = np.asarray(jax.random.permutation(key_order, count))
        return np.asarray(noisy(jnp.asarray(BATCH["x"]), key_x)), [np.asarray(c) for c in copies], share, order


def mixed(values, share, order):
    """Algorithm 1, line by line: lambda' = max(lambda, 1 - lambda), each closer to itself than to its partner."""
    found = []
    for i, (lam, other) in enumerate(zip(share, order, strict=True)):
        lam = max(lam, 1 - lam)
        found.append(lam * values[i] + (1 - lam) * values[other])
    return np.array(found)


def numpy_terms(key, temperature, alpha):
    """Cross-entropy of the labelled ones, squared difference of the others, and the guesses."""
    x, copies, share, order = drawn(key, alpha, 3 + 5 + 5)
    guesses = sharpened((predicted(copies[0]) + predicted(copies[1])) / 2, temperature)
    images, targets = np.concatenate([x, *copies]), np.concatenate([one_hot(BATCH["y"]), guesses, guesses])
    images, targets = mixed(images, share, order), mixed(targets, share, order)
    ce, same = cross_entropy(images[:3], targets[:3]), squared_difference(images[3:], targets[3:])
    return ce, same, guesses, share


@pytest.mark.parametrize(("temperature", "alpha"), [(0.5, 0.75), (0.2, 3.0), (1.0, 0.75)])
def test_everything_is_mixed_with_everything_and_no_gradient_flows_through_the_guesses(temperature, alpha):
    ce, same, guesses, share = numpy_terms(0, temperature, alpha)
    assert (np.abs(share - 0.5) < 0.4).any()
    method = MixMatch(temperature=temperature, mixing=alpha, weight=6.0)
    found, logs, memory = run(method, weak=noisy, strong=lambda x, key: 0 * x)
    assert_close(found, ce + 6 * same)
    assert_close([logs[n] for n in ("ce", "consistency", "confidence")], [ce[0], same[0], guesses.max(1).mean()])
    assert memory == ()


def test_hardly_mixed_it_is_two_sums_in_closed_form():
    """With alpha .001 lambda is 0 or 1, so that nearer to itself means itself."""
    q = sharpened(predicted(weak(BATCH["x_u"])), 0.5)
    expected = cross_entropy(weak(BATCH["x"]), one_hot(BATCH["y"])) + 6 * squared_difference(weak(BATCH["x_u"]), q)
    found = run(MixMatch(mixing=1e-3, weight=6.0))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert abs(found - run(MixMatch(mixing=10.0, weight=6.0))[0]).max() > 0.01


@pytest.mark.parametrize(("progress", "share"), [(0.004, 0.25), (0.016, 1.0)])
def test_the_weight_rises_linearly(progress, share):
    ce, same, _, _ = numpy_terms(2, 0.5, 0.75)
    found = run(MixMatch(weight=6.0, warm_up=0.016), progress, key=2, weak=noisy, strong=strong)[0]
    assert_close(found, ce + 6 * share * same)


def test_paper():
    """MixMatch's repository for CIFAR-10: beta .75, w_match 75, T .5, two copies, warm-up over 1024 of 65,536 kimg;
    Adam .002 without a schedule, decay .02 of the rate."""
    method = MixMatch()
    assert (method.temperature, method.mixing, method.weight) == (0.5, 0.75, 75.0)
    assert MixMatch.PAPER["mixmatch.warm_up"] == pytest.approx(1024 / 65_536, rel=0.03)
    assert {name: value for name, value in MixMatch.PAPER.items() if name != "mixmatch.warm_up"} == {
        "unlabeled_batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.02,
        "schedule": "constant",
    }
