import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import convolve, count, dense, fir, group_norm, noise_embedding, random_parameters, swish

from scoressl_jax.models.ncsnpp import NCSNpp
from scoressl_jax.models.scaling import ScoreNetwork

ROOT_HALF = np.sqrt(0.5)
TINY = NCSNpp(width=4, multipliers=(1, 2), blocks=1, attention=(2,), dropout=0.5, embedding=2)
LOG_SIGMA = np.asarray([-1.0, 0.7])
X = np.random.default_rng(0).normal(size=(2, 4, 6, 2))


# Size and shape, against the released networks


@pytest.mark.parametrize(
    ("network", "channels", "parameters"),
    [(NCSNpp(), 3, 62_758_915), (NCSNpp(blocks=8), 3, 107_587_075), (NCSNpp(), 1, 62_752_001)],
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


# The whole network in NumPy


def residual_block(p, x, embedding, resample=None):
    h = swish(group_norm(p["GroupNorm_0"], x, 1e-6))
    if resample == "up":
        h, x = (fir(v, 2, 1, up=2) for v in (h, x))
    if resample == "down":
        h, x = (fir(v, 1, 1, down=2) for v in (h, x))
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


def tiny_network(p, x, log_sigma):
    """TINY, level by level: one residual block a level on the way down, two on the way up."""
    e = noise_embedding(p["NoiseEmbedding_0"], log_sigma)

    def block(i, h, resample=None):
        return residual_block(p[f"ResidualBlock_{i}"], h, e, resample)

    first = convolve(p["Conv_0"], x)
    fine = block(0, first)
    pyramid = convolve(p["PyramidDownsample_0"]["Conv_0"], fir(x, 2, 2), stride=2, pad=(0, 0))
    halved = (pyramid + block(1, fine, "down")) * ROOT_HALF
    coarse = attention(p["Attention_0"], block(2, halved))
    h = block(4, attention(p["Attention_1"], block(3, coarse)))
    h = block(5, np.concatenate([h, coarse], -1))
    h = block(6, np.concatenate([h, halved], -1))
    h = block(7, attention(p["Attention_2"], h), "up")
    h = block(8, np.concatenate([h, fine], -1))
    h = block(9, np.concatenate([h, first], -1))
    return convolve(p["Conv_1"], swish(group_norm(p["GroupNorm_0"], h, 1e-6)))


def test_network_is_the_formula():
    parameters = random_parameters(TINY, X, LOG_SIGMA)
    found = np.asarray(jax.jit(TINY.apply)({"params": parameters}, X, LOG_SIGMA))
    expected = tiny_network(parameters, X, LOG_SIGMA)
    assert found.shape == X.shape
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


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
