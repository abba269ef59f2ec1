"""The released networks against plain NumPy layers; sizes of all."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.studies.moons.networks import PublishedClassifier, PublishedScore, ScaledClassifier, ScaledScore

RNG = np.random.default_rng(0)
X, LOG_SIGMA = 20 * RNG.normal(size=(7, 2)), RNG.uniform(-6, 2.3, 7)


@cache
def initial(network, seed=0):
    return jax.jit(network.init)(jax.random.key(seed), jnp.zeros((1, 2)), jnp.zeros(1))


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def published(params, x, log_sigma):
    """The layers one after the other, as the released code has them: concatenation, then the last layer."""
    p = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    dense = lambda name, h: h @ p[f"{name}_w"] + p[f"{name}_b"]  # noqa: E731
    relu = lambda h: np.maximum(h, 0)  # noqa: E731
    branch = dense("x3", relu(dense("x2", relu(dense("x1", x)))))
    noise = dense("sigma3", relu(dense("sigma2", relu(dense("sigma1", np.exp(log_sigma)[:, None])))))
    return dense("out", np.concatenate([branch, noise], 1))


def test_published_score_is_the_released_network():
    params = initial(PublishedScore())
    assert size(params) == 44_818
    found = jax.jit(PublishedScore().apply)(params, X, LOG_SIGMA)
    np.testing.assert_allclose(found, published(params, X, LOG_SIGMA), rtol=1e-4, atol=1e-5)


def test_published_classifier_has_the_probabilities_of_the_released_network():
    params = initial(PublishedClassifier())
    assert size(params) == 44_818
    logits, features = jax.jit(PublishedClassifier().apply)(params, X, LOG_SIGMA)
    expected = published(params, X, LOG_SIGMA)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected[:, 1] - expected[:, 0], rtol=1e-4, atol=1e-5)
    assert features.shape[0] == len(X)


@pytest.mark.parametrize("network", [PublishedScore, PublishedClassifier])
def test_published_layers_start_as_pytorch_draws_them(network):
    params = initial(network())["params"]
    for name, value in params.items():
        layer, part = name.rsplit("_", 1)
        bound = params[f"{layer}_w"].shape[0] ** -0.5
        assert np.abs(value).max() <= bound
        assert value.size < 100 or np.std(value) == pytest.approx(bound / np.sqrt(3), rel=0.15), part


@pytest.mark.parametrize(("network", "count"), [(ScaledScore, 4994), (ScaledClassifier, 2306)])
def test_ours_are_smaller(network, count):
    assert size(initial(network((17.0, 9.0)))) == count
