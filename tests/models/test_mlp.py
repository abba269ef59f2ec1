import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import dense, noise_embedding, random_parameters, swish

from scoressl_jax.models.mlp import MLP, MLPClassifier

LOG_SIGMA = np.asarray([-3.0, 0.1, 2.0])
rng = np.random.default_rng(0)
X, X_HAT = rng.normal(size=(2, 3, 2, 2, 2))


def apply(module, parameters, *inputs, **options):
    with jax.enable_x64(True):
        return jax.jit(lambda p, *inputs: module.apply({"params": p}, *inputs, **options))(parameters, *inputs)


# The networks in NumPy


def layer_norm(p, x):
    h = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return h * p["scale"] + p["bias"]


def residual_mlp(p, x, log_sigma, blocks):
    embedding = swish(noise_embedding(p["NoiseEmbedding_0"], log_sigma))
    h = dense(p["Dense_0"], x)
    for i in range(blocks):
        inner, told, out = (p[f"Dense_{3 * i + k}"] for k in (1, 2, 3))
        h = h + dense(out, swish(dense(inner, swish(layer_norm(p[f"LayerNorm_{i}"], h))) + dense(told, embedding)))
    return swish(layer_norm(p[f"LayerNorm_{blocks}"], h))


def test_score_body_is_the_formula():
    module = MLP(width=6, blocks=2, embedding=3)
    p = random_parameters(module, X, LOG_SIGMA)
    h = residual_mlp(p["ResidualMLP_0"], X.reshape(3, 8), LOG_SIGMA, 2)
    found = apply(module, p, X, LOG_SIGMA)
    assert found.shape == X.shape
    np.testing.assert_allclose(found.reshape(3, 8), dense(p["Dense_0"], h), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("assisted", [False, True])
def test_classifier_is_the_formula(assisted):
    """The noisy image is divided by sqrt(1 + sigma^2), the denoised one is taken as it is."""
    module = MLPClassifier(num_classes=4, width=6, blocks=1, denoised_input=assisted, embedding=3)
    inputs = (X, LOG_SIGMA, X_HAT) if assisted else (X, LOG_SIGMA)
    p = random_parameters(module, *inputs)
    flat = X.reshape(3, 8) / np.sqrt(1 + np.exp(2 * LOG_SIGMA))[:, None]
    if assisted:
        flat = np.concatenate([flat, X_HAT.reshape(3, 8)], axis=1)
    h = residual_mlp(p["ResidualMLP_0"], flat, LOG_SIGMA, 1)
    logits, features = apply(module, p, *inputs)
    np.testing.assert_allclose(features, h, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(logits, dense(p["Dense_0"], h), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("assisted", "x_hat"), [(True, None), (False, X_HAT)])
def test_x_hat_is_given_exactly_when_expected(assisted, x_hat):
    module = MLPClassifier(num_classes=4, width=6, denoised_input=assisted)
    with pytest.raises(ValueError, match="x_hat"):
        jax.eval_shape(module.init, jax.random.key(0), X, LOG_SIGMA, x_hat)


def test_score_body_starts_at_zero_and_drops_out_in_training_alone():
    module = MLP(width=16, blocks=1, dropout=0.5, embedding=2)
    x = jnp.asarray(X)
    params = jax.jit(module.init)(jax.random.key(0, impl="unsafe_rbg"), x, LOG_SIGMA)
    assert not np.asarray(jax.jit(module.apply)(params, x, LOG_SIGMA)).any()

    p = random_parameters(module, X, LOG_SIGMA)
    train = jax.jit(lambda key: module.apply({"params": p}, x, jnp.asarray(LOG_SIGMA), True, rngs={"dropout": key}))
    draws = [np.asarray(train(jax.random.key(i, impl="unsafe_rbg"))) for i in (0, 0, 1)]
    calm = dense(p["Dense_0"], residual_mlp(p["ResidualMLP_0"], X.reshape(3, 8), LOG_SIGMA, 1)).reshape(X.shape)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 1e-3
    assert np.abs(draws[0] - calm).max() > 1e-3


@pytest.mark.parametrize("module", [MLP, MLPClassifier], ids=["score", "classifier"])
def test_bfloat16_stays_close_with_float32_parameters_and_output(module):
    options = {"num_classes": 4} if module is MLPClassifier else {}
    options |= {"width": 16, "blocks": 2, "embedding": 3}
    x, log_sigma = X.astype(np.float32), LOG_SIGMA.astype(np.float32)
    p = jax.tree.map(np.float32, random_parameters(module(**options), x, log_sigma))
    run = lambda module: jax.tree.leaves(jax.jit(module.apply)({"params": p}, x, log_sigma))[0]  # noqa: E731
    found, exact = run(module(**options, dtype=jnp.bfloat16)), run(module(**options))
    assert found.dtype == np.float32
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03, "the same network, rounded to eight bits"
