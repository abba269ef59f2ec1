import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.losses import positive_unlabeled

prior_cross_entropy = jax.jit(positive_unlabeled.prior_cross_entropy)


def test_prior_cross_entropy_by_hand():
    p = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])  # average 0.5, 0.5
    found = prior_cross_entropy(np.log(p), jnp.asarray([0.3, 0.7]))
    assert found == pytest.approx(np.log(2), rel=1e-5)
    p = np.asarray([[0.9, 0.1], [0.7, 0.3]])  # average 0.8, 0.2
    found = prior_cross_entropy(np.log(p), jnp.asarray([0.3, 0.7]))
    assert found == pytest.approx(-0.3 * np.log(0.8) - 0.7 * np.log(0.2), rel=1e-5)


def test_average_of_probabilities_not_of_logits():
    """Confident and divided is not the same as undecided, unless the average is taken first."""
    divided, undecided = jnp.asarray([[8.0, 0.0], [0.0, 8.0]]), jnp.zeros((2, 2))
    prior = jnp.asarray([0.5, 0.5])
    assert prior_cross_entropy(divided, prior) == pytest.approx(float(prior_cross_entropy(undecided, prior)), rel=1e-5)


def test_prior_cross_entropy_is_least_where_the_average_is_the_prior():
    prior = np.asarray([0.2, 0.3, 0.5])
    spread = np.random.default_rng(0).normal(scale=0.05, size=(4, 3))
    spread -= spread.mean(0)
    spread -= spread.mean(1, keepdims=True)
    logits = jnp.asarray(np.log(prior + spread), jnp.float32)  # every row sums to 1, the average is the prior
    value, grad = jax.jit(jax.value_and_grad(prior_cross_entropy))(logits, jnp.asarray(prior))
    assert value == pytest.approx(-(prior * np.log(prior)).sum(), rel=1e-5)
    np.testing.assert_allclose(grad, 0, atol=1e-6)
    for shift in np.eye(3):
        assert prior_cross_entropy(logits + shift, jnp.asarray(prior)) > value + 0.01


def test_an_absent_class_costs_a_finite_amount():
    found = prior_cross_entropy(jnp.asarray([[1e4, 0.0]]), jnp.asarray([0.5, 0.5]))
    assert found == pytest.approx(-0.5 * np.log(1e-8), rel=1e-3)
