import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import (
    convolve,
    count,
    dense,
    fir,
    group_norm,
    noise_embedding,
    patches,
    positional_embedding,
    random_parameters,
    swish,
)

from scoressl_jax.models.ncsnpp import Attention, NCSNpp
from scoressl_jax.models.scaling import ScoreNetwork

ROOT_HALF = np.sqrt(0.5)
OPTIONS = dict(width=4, multipliers=(1, 2), blocks=1, attention=(2,), dropout=0.5, embedding=4)
TINY = NCSNpp(**OPTIONS)
DDPMPP = dict(kind="positional", fir=False, pyramid="none")
LOG_SIGMA = np.asarray([-1.0, 0.7])
X = np.random.default_rng(0).normal(size=(2, 4, 6, 2))


# Size and shape, against the released networks


@pytest.mark.parametrize(
    ("network", "channels", "parameters"),
    [
        (NCSNpp(), 3, 62_758_915),
        (NCSNpp(blocks=8), 3, 107_587_075),
        (NCSNpp(), 1, 62_752_001),
        (NCSNpp(**DDPMPP), 3, 61_804_419),
        (NCSNpp(blocks=8, **DDPMPP), 3, 106_632_579),
    ],
)
def test_number_of_parameters(network, channels, parameters):
    assert count(ScoreNetwork(network), (1, 32, 32, channels), (1,)) == parameters


def test_tree_of_the_deep_network_is_that_of_the_released_one():
    inputs = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
    p = jax.eval_shape(NCSNpp(blocks=8).init, jax.random.key(0), *inputs)["params"]
    blocks = [name for name in p if name.startswith("ResidualBlock_")]
    assert len(blocks) == 76
    assert len([name for name in p if name.startswith("Attention_")]) == 10
    assert len(jax.tree.leaves(p)) == 963
    ins_and_outs = {9: (128, 256), 17: (256, 256), 36: (256, 256), 37: (512, 256), 65: (384, 256), 67: (384, 128),
                    68: (256, 128), 75: (256, 128)}
    for i, shape in ins_and_outs.items():
        assert p[f"ResidualBlock_{i}"]["Conv_0"]["kernel"].shape == (3, 3, *shape), i
    shortcuts = {int(name.split("_")[1]) for name in blocks if "Conv_2" in p[name]}
    assert shortcuts == {8, 9, 17, 26, 46, 56, 66, *range(37, 46), *range(47, 56), *range(57, 66), *range(67, 76)}
    pyramid = [p[f"PyramidDownsample_{i}"]["Conv_0"]["kernel"].shape for i in range(3)]
    assert pyramid == [(3, 3, 3, 128), (3, 3, 128, 256), (3, 3, 256, 256)]


@pytest.mark.parametrize(("size", "multipliers"), [(28, (1, 2, 2, 2)), (7, (1, 1))])
def test_sizes_that_cannot_be_halved_are_named(size, multipliers):
    with pytest.raises(ValueError, match=f"{size}x{size}.*{len(multipliers) - 1} times"):
        jax.eval_shape(NCSNpp(4, multipliers).init, jax.random.key(0), jnp.ones((1, size, size, 1)), jnp.ones(1))


def test_patches_that_cannot_be_halved_are_named():
    network = NCSNpp(**OPTIONS, patch=2)
    jax.eval_shape(network.init, jax.random.key(0), jnp.ones((1, 12, 8, 1)), jnp.ones(1))
    for size in ((6, 8), (8, 6), (8, 7)):  # 3x4, 4x3, and half a patch
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} with patches of 2 cannot be halved 1 times"):
            jax.eval_shape(network.init, jax.random.key(0), jnp.ones((1, *size, 1)), jnp.ones(1))


# The whole network in NumPy


def test_attention_is_the_formula():
    module, x = Attention(), np.random.default_rng(2).normal(size=(2, 3, 5, 8))
    parameters = random_parameters(module, x)
    with jax.enable_x64(True):
        found = jax.jit(module.apply)({"params": parameters}, x)
    expected = attention(parameters, x)
    assert np.abs(expected - x * ROOT_HALF).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def up(x, with_fir):
    return fir(x, 2, 1, up=2) if with_fir else np.kron(x, np.ones((1, 2, 2, 1)))


def down(x, with_fir):
    if with_fir:
        return fir(x, 1, 1, down=2)
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def residual_block(p, x, embedding, resample=None, with_fir=True):
    h = swish(group_norm(p["GroupNorm_0"], x, 1e-6))
    if resample:
        h, x = resample(h, with_fir), resample(x, with_fir)
    h = convolve(p["Conv_0"], h) + dense(p["Dense_0"], swish(embedding))[:, None, None]
    h = convolve(p["Conv_1"], swish(group_norm(p["GroupNorm_1"], h, 1e-6)))
    if "Conv_2" in p:
        x = convolve(p["Conv_2"], x)
    return (x + h) * ROOT_HALF


def attention(p, x):
    b, height, width, c = x.shape
    h = group_norm(p["GroupNorm_0"], x, 1e-6).reshape(b, -1, c)
    q, k, v = (dense(p[f"Dense_{i}"], h) for i in range(3))
    weights = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(c))
    weights /= weights.sum(-1, keepdims=True)
    return (x + dense(p["Dense_3"], weights @ v).reshape(x.shape)) * ROOT_HALF


def tiny_network(p, x, level, kind="fourier", fir=True, pyramid="residual"):
    """TINY, level by level: one residual block a level on the way down, two on the way up."""
    embed = positional_embedding if kind == "positional" else noise_embedding
    e = embed(p["NoiseEmbedding_0"], level)

    def block(i, h, resample=None):
        return residual_block(p[f"ResidualBlock_{i}"], h, e, resample, fir)

    def output(i, h):
        return convolve(p[f"Conv_{i + 1}"], swish(group_norm(p[f"GroupNorm_{i}"], h, 1e-6)))

    first = convolve(p["Conv_0"], x)
    fine = block(0, first)
    halved = block(1, fine, down)
    if pyramid == "residual":
        image = convolve(p["PyramidDownsample_0"]["Conv_0"], filtered(x), stride=2, pad=(0, 0))
        halved = (image + halved) * ROOT_HALF
    if pyramid == "skip":
        halved = halved + convolve(p["Combine_0"]["Conv_0"], down(x, fir))
    coarse = attention(p["Attention_0"], block(2, halved))
    h = block(4, attention(p["Attention_1"], block(3, coarse)))
    h = block(5, np.concatenate([h, coarse], -1))
    h = attention(p["Attention_2"], block(6, np.concatenate([h, halved], -1)))
    image = up(output(0, h), fir) if pyramid == "skip" else 0
    h = block(7, h, up)
    h = block(8, np.concatenate([h, fine], -1))
    h = block(9, np.concatenate([h, first], -1))
    return image + output(1 if pyramid == "skip" else 0, h)


def filtered(x):
    return fir(x, 2, 2)


@pytest.mark.parametrize("options", [{}, DDPMPP, {"pyramid": "skip"}, {"pyramid": "none"}], ids=str)
def test_network_is_the_formula(options):
    network = NCSNpp(**OPTIONS, **options)
    level = np.asarray([3.0, 700.0]) if options == DDPMPP else LOG_SIGMA
    parameters = random_parameters(network, X, level)
    found = np.asarray(jax.jit(network.apply)({"params": parameters}, X, level))
    expected = tiny_network(parameters, X, level, **options)
    assert found.shape == X.shape
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)


def test_with_patches_it_is_the_network_of_an_image_of_patches():
    """Image and score of 8x12 are 4x6 pixels of 2 x 2 x 2 channels inside."""
    network, x = NCSNpp(**OPTIONS, patch=2), np.random.default_rng(3).normal(size=(2, 8, 12, 2))
    parameters = random_parameters(network, x, LOG_SIGMA)
    found = np.asarray(jax.jit(network.apply)({"params": parameters}, x, LOG_SIGMA))
    expected = tiny_network(parameters, patches(x, 2), LOG_SIGMA)
    assert expected.shape == (2, 4, 6, 8)
    assert expected.std() > 0.1
    assert found.shape == x.shape
    np.testing.assert_allclose(patches(found, 2), expected, rtol=1e-3, atol=2e-4)


def test_bfloat16_stays_close_with_float32_parameters_and_output():
    network = NCSNpp(**OPTIONS, dtype=jnp.bfloat16)
    x, s = X.astype(np.float32), LOG_SIGMA.astype(np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, s)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}
    p = jax.tree.map(np.float32, random_parameters(network, x, s))
    found = jax.jit(network.apply)({"params": p}, x, s)
    exact = jax.jit(TINY.apply)({"params": p}, x, s)
    assert found.dtype == np.float32
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03, "the same network, rounded to eight bits"


def test_dropout_acts_in_training_alone():
    module, x, s = NCSNpp(4, (1,), 0, (), dropout=0.5, embedding=2), X.astype(np.float32), LOG_SIGMA.astype(np.float32)
    p = random_parameters(module, x, s)

    def run(key, train):
        return module.apply({"params": p}, x, s, train, rngs={"dropout": key})

    apply = jax.jit(run, static_argnums=1)
    keys = [jax.random.key(i, impl="unsafe_rbg") for i in (0, 1)]
    first, again, other = (np.asarray(apply(key, True)) for key in (keys[0], keys[0], keys[1]))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    np.testing.assert_array_equal(apply(keys[0], False), apply(keys[1], False))
