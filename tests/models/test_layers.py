import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from scoressl_jax.models.layers import (
    FourierEmbedding,
    GroupNorm,
    InstanceNormPlus,
    NoiseEmbedding,
    average_pixels,
    channels_to_pixels,
    default_init,
    downsample_fir,
    group_norm,
    pixels_to_channels,
    positional_embedding,
    repeat_pixels,
    resample_fir,
    standardize,
    upsample_fir,
)

KEY = jax.random.key(0, impl="unsafe_rbg")  # compiles fastest


def swish(x):
    return x / (1 + np.exp(-x))


# Noise-level embeddings


def test_fourier_embedding_is_the_formula():
    layer, log_sigma = FourierEmbedding(size=6, scale=2.0), np.asarray([-4.6, 0.0, 3.9])
    w = np.random.default_rng(6).normal(size=6)
    with jax.enable_x64(True):
        found = jax.jit(layer.apply)({"params": {"W": w}}, log_sigma)
    angle = 2 * np.pi * log_sigma[:, None] * w
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], 1), atol=1e-9)


def test_fourier_frequencies_are_normal_and_get_no_gradient():
    layer, log_sigma = FourierEmbedding(size=4000, scale=16.0), jnp.asarray([0.3, -1.0])
    params = jax.jit(layer.init)(KEY, log_sigma)
    w = np.asarray(params["params"]["W"])
    assert w.shape == (4000,)
    assert w.std() == pytest.approx(16, rel=0.05)
    assert abs(w.mean()) < 1
    grads, slope = jax.jit(jax.grad(lambda p, s: (layer.apply(p, s) ** 3).sum(), argnums=(0, 1)))(params, log_sigma)
    assert not np.asarray(grads["params"]["W"]).any()
    assert np.abs(slope).min() > 0  # while the noise level does


def test_noise_embedding_is_two_dense_layers_on_fourier_features():
    layer, log_sigma = NoiseEmbedding(size=3, scale=1.5), np.asarray([-2.0, 0.5])
    rng = np.random.default_rng(5)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), log_sigma)["params"]
    p = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    with jax.enable_x64(True):
        found = jax.jit(layer.apply)({"params": p}, log_sigma)
    angle = 2 * np.pi * log_sigma[:, None] * p["FourierEmbedding_0"]["W"]
    h = np.concatenate([np.sin(angle), np.cos(angle)], 1) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
    np.testing.assert_allclose(found, swish(h) @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"], rtol=1e-6, atol=1e-9)
    assert found.shape == (2, 12)


def test_positional_embedding_is_ddpms():
    level, i = np.asarray([0.0, 3.5, 999.0]), np.arange(4)
    angle = level[:, None] * np.exp(-np.log(10_000) * i / 3)
    with jax.enable_x64(True):
        found = jax.jit(lambda level: positional_embedding(level, 8))(level)
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], 1), atol=1e-9)


def test_default_init_is_uniform_with_fan_average():
    draw = np.asarray(default_init()(KEY, (3, 3, 20, 40)))
    limit = np.sqrt(3 / (9 * (20 + 40) / 2))
    assert np.abs(draw).max() <= limit
    assert np.abs(draw).max() > 0.99 * limit
    assert draw.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)
    zero = np.asarray(default_init(0.0)(KEY, (3, 3, 20, 40)))
    assert 0 < np.abs(zero).max() < 1e-5


# Normalisation


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (4, 1), (8, 2), (16, 4), (128, 32), (256, 32)])
def test_group_norm_has_score_sdes_groups(channels, groups):
    assert group_norm(channels).groups == groups
    assert group_norm(channels).epsilon == 1e-6


def test_groups_divide_any_number_of_channels():
    for channels in range(1, 2049):
        most = max(1, min(channels // 4, 32))  # score_sde's choice, which is kept wherever it divides
        groups = group_norm(channels).groups
        assert channels % groups == 0
        assert 1 <= groups <= most
        assert not any(channels % n == 0 for n in range(groups + 1, most + 1))


@pytest.mark.parametrize("shape", [(3, 4, 2, 12), (3, 5, 12)])
def test_group_norm_is_that_of_flax(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape) * np.arange(1, 13) + 7
    scale, bias = rng.normal(size=(2, 12))
    p = {"params": {"scale": scale, "bias": bias}}
    with jax.enable_x64(True):
        found = GroupNorm(3, 1e-3).apply(p, x)
        expected = nn.GroupNorm(3, epsilon=1e-3, use_fast_variance=False).apply(p, x)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_instance_norm_plus_is_the_formula():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 2, 5)) * np.arange(1, 6) + rng.normal(size=(3, 1, 1, 5)) + 7
    alpha, gamma, beta = rng.normal(size=(3, 1, 1, 1, 5))
    with jax.enable_x64(True):
        found = jax.jit(InstanceNormPlus().apply)({"params": {"alpha": alpha, "gamma": gamma, "beta": beta}}, x)
    mu, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    m, v = mu.mean(-1, keepdims=True), mu.var(-1, keepdims=True)
    h = (x - mu) / np.sqrt(var + 1e-5) + alpha * (mu - m) / np.sqrt(v + 1e-5)
    np.testing.assert_allclose(found, gamma * h + beta, rtol=1e-9)


def test_instance_norm_plus_starts_near_one():
    params = jax.jit(InstanceNormPlus().init)(KEY, jnp.ones((1, 2, 2, 2000)))["params"]
    assert {name: value.shape for name, value in params.items()} == dict.fromkeys(params, (1, 1, 1, 2000))
    assert not np.asarray(params["beta"]).any()
    for name in ("alpha", "gamma"):
        assert np.mean(params[name]) == pytest.approx(1, abs=0.003)
        assert np.std(params[name]) == pytest.approx(0.02, rel=0.1)
    assert not np.array_equal(params["alpha"], params["gamma"])


@pytest.mark.parametrize("scale", [100.0, 1.0, 1e-3])
def test_standardize_is_the_formula(scale):
    x = 3 + scale * np.random.default_rng(1).normal(size=(4, 3, 2, 2)) * np.asarray([1, 2, 0.1, 5]).reshape(4, 1, 1, 1)
    mean, std = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    expected = (x - mean) / np.maximum(std, 1 / np.sqrt(12))
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(standardize)(x), expected, rtol=1e-9, atol=1e-12)


def test_standardize_has_finite_gradients_on_constant_images():
    x = jnp.stack([jnp.full((2, 2, 1), 0.7), jnp.zeros((2, 2, 1))])

    @jax.jit
    def orders(x):
        def total(x):
            return (jnp.arange(8.0).reshape(2, 2, 2, 1) * standardize(x)).sum()

        grad = jax.grad(total)
        return standardize(x), grad(x), jax.grad(lambda x: (grad(x) ** 2).sum())(x)

    value, first, second = orders(x)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert np.isfinite(first).all()
    assert np.isfinite(second).all()
    weights = np.arange(8.0).reshape(2, 4)
    expected = (weights - weights.mean(1, keepdims=True)) * np.sqrt(4)  # 1 / max(0, 1 / sqrt(4)) = 2
    np.testing.assert_allclose(np.reshape(first, (2, 4)), expected, rtol=1e-5)


@pytest.mark.parametrize("layer", [GroupNorm(3), InstanceNormPlus()], ids=["group", "instance++"])
def test_normalisation_of_bfloat16_is_summed_in_float32(layer):
    """Sums of 4,096 values near 30 would lose all of the deviation in eight bits."""
    x = 30 + np.random.default_rng(3).normal(size=(2, 64, 64, 12)).astype(np.float32)
    x = jnp.asarray(x, jnp.bfloat16)
    params = jax.jit(layer.init)(KEY, x)
    found = jax.jit(layer.apply)(params, x)
    exact = jax.jit(layer.apply)(params, x.astype(jnp.float32))
    assert found.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.asarray(found, np.float32), exact, atol=0.02)


# FIR resampling, against scipy: a full filtering of which the padding keeps a part

KERNEL = np.asarray([1.0, 3.0, 3.0, 1.0]) / 8


def scipy_resample(x, up, down, gain, first, count):
    for axis in (1, 2):
        full = upfirdn(gain * KERNEL, x, up=up, axis=axis)
        x = np.take(full, first + down * np.arange(count(x.shape[axis])), axis=axis)
    return x


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 5, 3, 1)])
def test_upsample_fir(shape):
    x = np.random.default_rng(2).normal(size=shape)
    expected = scipy_resample(x, 2, 1, 2.0, 1, lambda n: 2 * n)
    np.testing.assert_allclose(jax.jit(upsample_fir)(x), expected, rtol=1e-5, atol=1e-6)


def test_downsample_fir():
    x = np.random.default_rng(3).normal(size=(2, 4, 6, 3))
    expected = scipy_resample(x, 1, 2, 1.0, 2, lambda n: n // 2)
    np.testing.assert_allclose(jax.jit(downsample_fir)(x), expected, rtol=1e-5, atol=1e-6)


def test_filter_before_a_strided_convolution():
    x = np.random.default_rng(4).normal(size=(2, 4, 6, 3))
    expected = scipy_resample(x, 1, 1, 1.0, 1, lambda n: n + 1)
    np.testing.assert_allclose(jax.jit(lambda x: resample_fir(x, (2, 2)))(x), expected, rtol=1e-5, atol=1e-6)


def test_resampling_keeps_the_level_inside():
    x = jnp.full((1, 8, 8, 1), 0.6)
    up, down = (np.asarray(y) for y in jax.jit(lambda x: (upsample_fir(x), downsample_fir(x)))(x))
    np.testing.assert_allclose(up[0, 2:-2, 2:-2], 0.6, rtol=1e-5)
    np.testing.assert_allclose(down[0, 1:-1, 1:-1], 0.6, rtol=1e-5)


def test_resampling_without_filters():
    x = np.random.default_rng(5).normal(size=(2, 4, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(repeat_pixels(x), np.kron(x, np.ones((1, 2, 2, 1), np.float32)))
    np.testing.assert_allclose(average_pixels(repeat_pixels(x)), x, rtol=1e-6)
    np.testing.assert_allclose(average_pixels(x)[0, 1, 2], x[0, 2:4, 4:6].mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 5, 3, 2), (1, 7, 4, 3), (2, 6, 1, 1), (1, 1, 1, 2)])
def test_an_odd_last_row_or_column_is_averaged_by_itself(shape):
    x = np.random.default_rng(6).normal(size=shape).astype(np.float32)
    found = np.asarray(jax.jit(average_pixels)(x))
    assert found.shape == (shape[0], (shape[1] + 1) // 2, (shape[2] + 1) // 2, shape[3])
    for i in range(found.shape[1]):
        for j in range(found.shape[2]):
            rows = [k for k in (2 * i, 2 * i + 1) if k < shape[1]]
            columns = [k for k in (2 * j, 2 * j + 1) if k < shape[2]]
            pixels = [x[:, row, column] for row in rows for column in columns]
            np.testing.assert_allclose(found[:, i, j], np.mean(pixels, 0), rtol=1e-5, atol=1e-6)


# Patches


@pytest.mark.parametrize("patch", [1, 2, 3])
def test_pixels_of_a_patch_are_channels_row_by_row(patch):
    x = np.random.default_rng(7).normal(size=(2, 6, 12, 5)).astype(np.float32)
    found = np.asarray(pixels_to_channels(x, patch))
    assert found.shape == (2, 6 // patch, 12 // patch, 5 * patch**2)
    for row in range(6):
        for column in range(12):
            first = 5 * (patch * (row % patch) + column % patch)
            pixel = found[:, row // patch, column // patch, first : first + 5]
            np.testing.assert_array_equal(pixel, x[:, row, column])
    np.testing.assert_array_equal(channels_to_pixels(found, patch), x)
