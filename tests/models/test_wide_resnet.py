import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import (
    average,
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

from scoressl_jax.models.wide_resnet import WideResNet, head_init

LOG_SIGMA = np.asarray([-1.0, 0.7])
rng = np.random.default_rng(0)
X, X_HAT = 3 * rng.normal(size=(2, 2, 8, 4, 3)) + 1


# Size, against the released network and the papers


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (WideResNet(10, 28, 10), 38_913_242),
        (WideResNet(10, 28, 2), 2_310_874),
        # facts: body 1,458,666 with InstanceNorm++, noise level to blocks 459,648, noise embedding 394,240 and W 128
        (WideResNet(10, 28, 2, norm="instance++"), 1_458_666 + 459_648 + 394_240 + 128),
    ],
)
def test_number_of_parameters(network, parameters):
    assert count(network, (1, 32, 32, 3), (1,)) == parameters


def test_denoised_input_adds_one_convolution():
    image = (1, 32, 32, 3)
    added = count(WideResNet(10, denoised_input=True), image, (1,), image) - count(WideResNet(10), image, (1,))
    assert added == 3 * 3 * 3 * 16


def test_shapes():
    inputs = jax.ShapeDtypeStruct((5, 16, 12, 1), np.float32), jax.ShapeDtypeStruct((5,), np.float32)
    logits, features = jax.eval_shape(
        lambda x, s: WideResNet(7, 16, 3, embedding=4).init_with_output(jax.random.key(0), x, s)[0], *inputs
    )
    assert logits.shape == (5, 7)
    assert features.shape == (5, 64 * 3)


@pytest.mark.parametrize(("assisted", "x_hat"), [(True, None), (False, X_HAT)])
def test_x_hat_is_given_exactly_when_expected(assisted, x_hat):
    module = WideResNet(4, 10, 1, denoised_input=assisted)
    with pytest.raises(ValueError, match="x_hat"):
        jax.eval_shape(module.init, jax.random.key(0), X, LOG_SIGMA, x_hat)


def test_head_starts_uniform():
    draw = np.asarray(head_init(jax.random.key(0, impl="unsafe_rbg"), (500, 4)))
    assert np.abs(draw).max() <= 0.5
    assert draw.min() < -0.49
    assert draw.max() > 0.49
    assert draw.std() == pytest.approx(0.5 / np.sqrt(3), rel=0.05)


# The whole network in NumPy


def network(p, norm, patch, x, log_sigma, x_hat=None):
    """WRN-10-1: one block in each of three groups."""

    def relu_norm(tree, i, h):
        if norm == "group":
            h = group_norm(tree[f"GroupNorm_{i}"], h, 1e-5)
        else:
            h = instance_norm_plus(tree[f"InstanceNormPlus_{i}"], h)
        return np.maximum(h, 0)

    embedding = swish(noise_embedding(p["NoiseEmbedding_0"], log_sigma))
    h = convolve(p["Conv_0"], patches(standardize(x), patch))
    if x_hat is not None:
        h = h + convolve(p["Conv_1"], patches(standardize(x_hat), patch))
    for i, stride in enumerate((1, 2, 2)):
        b = p[f"Block_{i}"]
        active = relu_norm(b, 0, h)
        shortcut = active if i == 0 else h
        r = convolve(b["Conv_0"], active, stride) + dense(b["Dense_0"], embedding)[:, None, None]
        r = convolve(b["Conv_1"], relu_norm(b, 1, r))
        if stride == 2:
            shortcut = average(shortcut)
        h = r
        h[..., : shortcut.shape[-1]] += shortcut
    features = relu_norm(p, 0, h).mean((1, 2))
    return dense(p["Dense_0"], features), features


@pytest.mark.parametrize(("norm", "assisted"), [("group", False), ("instance++", True)])
def test_network_is_the_formula(norm, assisted):
    module = WideResNet(5, 10, 1, norm=norm, denoised_input=assisted, embedding=2)
    inputs = (X, LOG_SIGMA, X_HAT) if assisted else (X, LOG_SIGMA)
    p = random_parameters(module, *inputs)
    apply = jax.jit(module.apply)
    logits, features = apply({"params": p}, *inputs)
    expected = network(p, norm, 1, *inputs)
    assert np.ptp(expected[0], axis=0).max() > 0.1
    np.testing.assert_allclose(features, expected[1], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(logits, expected[0], rtol=2e-3, atol=1e-3)

    # Each image is standardised by itself, so scale and level of either input do not matter.
    moved = [5 * inputs[0] - 2, LOG_SIGMA, *(0.5 * v + 3 for v in inputs[2:])]
    np.testing.assert_allclose(apply({"params": p}, *moved)[0], logits, rtol=1e-2, atol=1e-3)
    assert np.abs(apply({"params": p}, X, LOG_SIGMA + 0.1, *inputs[2:])[0] - logits).max() > 1e-3


@pytest.mark.parametrize(
    ("norm", "assisted", "size", "patch"),
    [("group", True, (12, 14), 2), ("instance++", False, (14, 7), 1)],
    ids=["6x7 patches", "14x7"],
)
def test_patches_and_sizes_that_cannot_be_halved_twice(norm, assisted, size, patch):
    module = WideResNet(5, 10, 1, norm=norm, denoised_input=assisted, embedding=2, patch=patch)
    x, x_hat = np.random.default_rng(1).normal(size=(2, 2, *size, 3)) ** 2  # skewed: the two differ more
    inputs = (x, LOG_SIGMA, x_hat) if assisted else (x, LOG_SIGMA)
    p = random_parameters(module, *inputs)
    assert p["Conv_0"]["kernel"].shape == (3, 3, 3 * patch**2, 16)
    logits, features = jax.jit(module.apply)({"params": p}, *inputs)
    expected = network(p, norm, patch, *inputs)
    assert np.ptp(expected[0], axis=0).max() > 0.1
    np.testing.assert_allclose(features, expected[1], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(logits, expected[0], rtol=2e-3, atol=1e-3)


def test_bfloat16_stays_close_with_float32_parameters_and_logits():
    x, x_hat, log_sigma = (v.astype(np.float32) for v in (X, X_HAT, LOG_SIGMA))
    small = dict(num_classes=5, depth=10, widen=1, denoised_input=True, embedding=2)
    p = jax.tree.map(np.float32, random_parameters(WideResNet(**small), x, log_sigma, x_hat))
    half = WideResNet(**small, dtype=jnp.bfloat16)
    found, exact = (jax.jit(m.apply)({"params": p}, x, log_sigma, x_hat)[0] for m in (half, WideResNet(**small)))
    assert found.dtype == np.float32
    shapes = jax.eval_shape(half.init, jax.random.key(0), x, log_sigma, x_hat)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03, "the same network, rounded to eight bits"
