import jax
import numpy as np
import pytest
from fake_learner import BATCH, SIZES, assert_close, run, strong, weak
from log_odds import mean_cost

from scoressl_jax.methods.pvu import PvU

METHOD = PvU()
MEMORY = METHOD.start(SIZES._replace(labeled=3))  # of 12 images


def test_it_tells_labelled_from_unlabelled_images_weighed_as_in_the_set_of_both():
    labeled = mean_cost(strong(BATCH["x"]), 1, "logistic")
    unlabeled = mean_cost(strong(BATCH["x_u"]), -1, "logistic")
    found, logs, memory = run(METHOD, memory=MEMORY)
    assert_close(found, 0.25 * labeled + 0.75 * unlabeled)
    assert_close([logs["labeled"], logs["unlabeled"]], [labeled[0], unlabeled[0]])
    assert_close(memory["share"], 0.25)
    assert abs(found[0] - 0.25 * mean_cost(weak(BATCH["x"]), 1, "logistic")[0]) > 0.01


def test_every_image_goes_through_the_network_at_once():
    shown = []
    run(METHOD, memory=MEMORY, shown=shown)
    assert set(shown) == {3 + 5}


def test_probabilities_are_g_over_the_mean_of_g_over_positives():
    """A fifth of the positives is labelled: where it is known how likely an image is positive, this is found again."""
    positive, c = np.array([0.0, 0.1, 0.5, 0.9, 1.0]), 0.2
    g = np.stack([1 - c * positive, c * positive], 1)
    found = METHOD.calibration(np.array([[0.9, 0.1], [0.7, 0.3]]))
    assert found == pytest.approx(c)
    np.testing.assert_allclose(METHOD.calibrated(g, found), np.stack([1 - positive, positive], 1), atol=1e-6)


def test_no_probability_is_greater_than_1():
    np.testing.assert_array_equal(METHOD.calibrated(np.array([[0.5, 0.5]]), np.array(0.2)), [[0, 1]])


def test_c_is_an_array_that_a_file_keeps():
    assert isinstance(METHOD.calibration(jax.numpy.ones((3, 2))), np.ndarray)


def test_paper():
    """pulearn holds out a tenth of the positives."""
    assert METHOD.held_out == 0.1
    assert PvU.PAPER == {}
    assert not hasattr(PvU, "needs_prior")
