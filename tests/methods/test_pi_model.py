import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import BATCH, assert_close, cross_entropy, key_of, one_hot, predicted, run, squared_difference

from scoressl_jax.methods.pi_model import PiModel


def noisy(x, key):
    """Images with numbers that tell the key."""
    return 2 * x + jax.random.uniform(key, x.shape, jnp.float32)


def of_key(key, count):
    """(x, one, other): what PiModel's three keys make of the batch, by hand."""
    with jax.enable_x64(True):
        keys = jax.random.split(key_of(key), 3)
        names = ("x", "x_u", "x_u")
        return [np.asarray(noisy(jnp.asarray(BATCH[name]), k)) for name, k in zip(names, keys, strict=True)][:count]


def terms(key=0):
    x, one, other = of_key(key, 3)
    return cross_entropy(x, one_hot(BATCH["y"])), squared_difference(one, predicted(other))


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.25), (0.3, 0.75), (0.4, 1.0), (1.0, 1.0)])
def test_two_weak_copies_with_noise_of_their_own_and_a_gradient_through_the_first_alone(progress, share):
    ce, same = terms()
    assert abs(same).max() > 1e-3
    found, logs, memory = run(PiModel(weight=7.0, warm_up=0.4), progress, weak=noisy, strong=lambda x, key: 0 * x)
    assert_close(found, ce + 7 * share * same)
    assert_close([logs["ce"], logs["consistency"]], [ce[0], same[0]])
    assert memory == ()


def test_another_key_makes_other_copies_and_equal_ones_agree():
    method = PiModel()
    assert abs(run(method, weak=noisy)[0] - run(method, weak=noisy, key=1)[0]).max() > 1e-3
    assert run(method)[1]["consistency"] < 1e-30


def test_without_a_warm_up_the_weight_is_whole_from_the_first_step():
    ce, same = terms()
    assert_close(run(PiModel(weight=7.0, warm_up=0.0), 0.0, weak=noisy)[0], ce + 7 * same)


def test_every_image_goes_through_the_network_at_once():
    shown = []
    run(PiModel(), shown=shown)
    assert set(shown) == {3 + 5 + 5}


def test_paper():
    """USB's yaml: as many unlabelled images as the batch of 64, weight 10, warm-up .4."""
    method = PiModel()
    assert (method.weight, method.warm_up) == (10.0, 0.4)
    assert PiModel.PAPER == {"unlabeled_batch_size": 64}
