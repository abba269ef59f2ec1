"""What is asked of samples: which classes, how many of each, and at how many of the calls the gradient acts."""

from types import SimpleNamespace

import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import samplers
from scoressl_jax.experiment.config import default_config
from scoressl_jax.sde import VE, VP

NAMES = ("cat", "dog", "7", "3")


def plan(**fields):
    sampling = default_config().sampling
    sampling.update(fields)
    return sampling


# Classes and how many of each


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        (dict(count=6), [0, 1, 2, 3, 0, 1]),
        (dict(count=2), [0, 1]),
        (dict(count=5, classes=("3", "dog")), [3, 1, 3, 1, 3]),
        (dict(count=5, classes=(3, 7)), [3, 2, 3, 2, 3]),  # numbers on the command line are names
        (dict(per_class=(1, 3, 2, 1)), [0, 1, 2, 3, 1, 2, 1]),
        (dict(classes=("7", "cat"), per_class=(3, 1)), [2, 0, 2, 2]),
        (dict(classes=("dog",), per_class=(2,), count=50), [1, 1]),
    ],
)
def test_labels_go_round_the_classes_asked_for(fields, labels):
    samplers.check_classes(plan(**fields), NAMES)
    found = samplers.wanted_labels(plan(**fields), NAMES)
    np.testing.assert_array_equal(found, np.array(labels, np.int32), strict=True)


@pytest.mark.parametrize("fields", [{}, dict(classes=("7", "cat", "3"))])
def test_more_images_begin_with_the_same_labels(fields):
    longest = samplers.wanted_labels(plan(count=40, **fields), NAMES)
    for count in (1, 2, 13, 39):
        np.testing.assert_array_equal(samplers.wanted_labels(plan(count=count, **fields), NAMES), longest[:count])


def test_equal_counts_of_each_class_are_the_labels_of_their_sum():
    even = samplers.wanted_labels(plan(per_class=(5, 5, 5, 5)), NAMES)
    np.testing.assert_array_equal(even, samplers.wanted_labels(plan(count=20), NAMES))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(classes=("cat", "cow")), "('cat', 'cow'): there is no class 'cow'; choose among cat, dog, 7, 3"),
        (dict(classes=(1,)), "there is no class '1'"),
        (dict(classes=("dog", "7", "dog")), "a class comes twice"),
        (dict(classes=("7", 7)), "a class comes twice"),
        (dict(per_class=(3, 4)), "config.sampling.per_class has 2 numbers for 4 classes (cat, dog, 7, 3): give one"),
        (dict(classes=("dog", "3"), per_class=(3, 4, 1)), "has 3 numbers for 2 classes (dog, 3): give one for each"),
    ],
)
def test_classes_that_there_are_not(fields, words):
    with pytest.raises(UserError) as error:
        samplers.check_classes(plan(**fields), NAMES)
    assert words in str(error.value)
    assert str(error.value).startswith(f"config.sampling.{'per_class' if 'numbers' in words else 'classes'} ")


def test_conditions_of_new_images_are_labels_and_of_restored_ones_test_images_with_their_own():
    rng = np.random.default_rng(0)
    dataset = SimpleNamespace(x_test=rng.integers(0, 256, (3, 2, 2, 1)).astype(np.uint8), y_test=np.array([3, 1, 2]))
    assert samplers.conditions(plan(count=6), NAMES, dataset).keys() == {"labels"}
    assert samplers.conditions(plan(count=6), NAMES)["labels"].tolist() == [0, 1, 2, 3, 0, 1]
    found = samplers.conditions(plan(count=5, task="inpainting"), NAMES, dataset)
    np.testing.assert_array_equal(found["labels"], np.array([3, 1, 2, 3, 1], np.int32), strict=True)
    np.testing.assert_allclose(found["known"], dataset.x_test[[0, 1, 2, 0, 1]] / 255.0, rtol=1e-6)


# The share of the calls at which the gradient acts


def levels_by_hand(sampling, sigma_min=0.01, sigma_max=10.0, eps=1e-5):
    """Noise levels of a VE process, std = sigma_min (sigma_max / sigma_min)^t, that a sampler's steps begin at."""
    sigma = lambda t: sigma_min * (sigma_max / sigma_min) ** np.asarray(t)  # noqa: E731
    last, first = sigma(eps), sigma(sampling.t_init)
    steps = np.linspace(0, 1, sampling.steps)
    if sampling.schedule == "karras" and sampling.sampler in ("ddim", "heun", "dpm_solver"):
        return (first ** (1 / 7) + steps * (last ** (1 / 7) - first ** (1 / 7))) ** 7
    return sigma(sampling.t_init + steps * (eps - sampling.t_init))  # of VE, even times are even logarithms


@pytest.mark.parametrize("interval", [(0.1, 2.0), (0.02, 0.3), (0.5, 500.0), (20.0, 30.0)])
@pytest.mark.parametrize(
    "fields",
    [
        dict(sampler="dpm_solver", schedule="karras", steps=20),
        dict(sampler="ddim", schedule="log_sigma", steps=37),
        dict(sampler="heun", schedule="time", steps=15),
        dict(sampler="dpm_solver", schedule="karras", steps=20, t_init=0.5),
        dict(sampler="predictor_corrector", steps=50),
        dict(sampler="ode", steps=25),
    ],
)
def test_guided_share_is_a_count_of_levels(fields, interval):
    sampling, sde = plan(interval=interval, **fields), VE(sigma_min=0.01, sigma_max=10.0)
    assert sde.sampling_eps == 1e-5
    levels = levels_by_hand(sampling)
    assert len(levels) == sampling.steps
    count = sum(interval[0] <= level <= interval[1] for level in levels)
    assert samplers.guided_share(sampling, sde) == pytest.approx(count / sampling.steps)
    if interval[0] > 10:
        assert count == 0
    elif interval[1] == 2.0:
        assert 0 < count < sampling.steps


def test_guided_share_without_an_interval_or_without_a_scale():
    for sde in (VE(0.01, 10.0), VP()):
        assert samplers.guided_share(plan(), sde) == 1.0
        assert samplers.guided_share(plan(scale=0.0), sde) == 0.0
        assert samplers.guided_share(plan(scale=0.0, interval=(0.1, 2.0)), sde) == 0.0
