import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import (
    convolve,
    count,
    dense,
    group_norm,
    instance_norm_plus,
    noise_embedding,
    patches,
    random_parameters,
    standardize,
    swish,
)

from scoressl_jax.models.resnet import ResNet

LOG_SIGMA = np.asarray([-1.0, 0.7])
rng = np.random.default_rng(0)
X, X_HAT = 3 * rng.normal(size=(2, 2, 8, 8, 3)) + 1
SMALL = dict(num_classes=5, width=4, embedding=2)


@pytest.mark.parametrize(
    ("network", "parameters"), [(ResNet(10, 18), 11_322_666), (ResNet(100, 34), 21_476_996)], ids=["18", "34"]
)
def test_number_of_parameters(network, parameters):
    """DLSM's networks, for CIFAR-10 and CIFAR-100."""
    assert count(network, (1, 32, 32, 3), (1,)) == parameters


@pytest.mark.parametrize(("assisted", "x_hat"), [(True, None), (False, X_HAT)])
def test_x_hat_is_given_exactly_when_expected(assisted, x_hat):
    module = ResNet(**SMALL, denoised_input=assisted)
    with pytest.raises(ValueError, match="x_hat"):
        jax.eval_shape(module.init, jax.random.key(0), X, LOG_SIGMA, x_hat)


# The whole network in NumPy


def network(p, norm, blocks, patch, x, log_sigma, x_hat=None):
    def normed(tree, i, h):
        if norm == "group":
            return group_norm(tree[f"GroupNorm_{i}"], h, 1e-5)
        return instance_norm_plus(tree[f"InstanceNormPlus_{i}"], h)

    def basic(p, h, stride):
        r = np.maximum(normed(p, 0, convolve(p["Conv_0"], h, stride)), 0)
        r = normed(p, 1, convolve(p["Conv_1"], r))
        if "Conv_2" in p:
            h = normed(p, 2, convolve(p["Conv_2"], h, stride, (0, 0)))
        return np.maximum(r + h, 0)

    embedding = swish(noise_embedding(p["NoiseEmbedding_0"], log_sigma))
    h = convolve(p["Conv_0"], patches(standardize(x), patch))
    if x_hat is not None:
        h = h + convolve(p["Conv_1"], patches(standardize(x_hat), patch))
    h, number = np.maximum(normed(p, 0, h), 0), 0
    for stage, length in enumerate(blocks):
        for i in range(length):
            h = basic(p[f"BasicBlock_{number}"], h, 2 if stage and i == 0 else 1)
            number += 1
        h = h + dense(p[f"Dense_{stage}"], embedding)[:, None, None]
    features = h.mean((1, 2))
    return dense(p["Dense_4"], features), features


@pytest.mark.parametrize(
    ("depth", "norm", "assisted", "size", "patch"),
    [
        (18, "group", False, (8, 8), 1),
        (18, "instance++", True, (8, 8), 1),
        (34, "group", True, (8, 8), 1),
        (18, "group", True, (28, 14), 2),
        (18, "group", False, (7, 14), 1),
    ],
)
def test_network_is_the_formula(depth, norm, assisted, size, patch):
    module = ResNet(**SMALL, depth=depth, norm=norm, denoised_input=assisted, patch=patch)
    x, x_hat = 3 * np.random.default_rng(0).normal(size=(2, 2, *size, 3)) + 1
    inputs = (x, LOG_SIGMA, x_hat) if assisted else (x, LOG_SIGMA)
    p = random_parameters(module, *inputs)
    logits, features = jax.jit(module.apply)({"params": p}, *inputs)
    expected = network(p, norm, {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth], patch, *inputs)
    assert np.ptp(expected[0], axis=0).max() > 0.1
    np.testing.assert_allclose(features, expected[1], rtol=5e-3, atol=1e-3 * np.abs(expected[1]).max())
    np.testing.assert_allclose(logits, expected[0], rtol=5e-3, atol=1e-3 * np.abs(expected[0]).max())


def test_bfloat16_stays_close_with_float32_logits():
    x, log_sigma = X.astype(np.float32), LOG_SIGMA.astype(np.float32)
    p = jax.tree.map(np.float32, random_parameters(ResNet(**SMALL), x, log_sigma))
    half = ResNet(**SMALL, dtype=jnp.bfloat16)
    found, exact = (jax.jit(m.apply)({"params": p}, x, log_sigma)[0] for m in (half, ResNet(**SMALL)))
    assert found.dtype == np.float32
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03, "the same network, rounded to eight bits"
