"""The network of clean images, and what batch normalisation does with a batch, and with statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_layers import average, convolve, count, dense, patches, random_parameters

from scoressl_jax.models.clean_resnet import BatchNorm, CleanResNet, applied, statistics

X = np.random.default_rng(0).uniform(size=(3, 8, 6, 3))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        # By hand, WRN-10-1: stem 3 3 3 16; groups 9 (16 16 + 16 16), 9 (16 32 + 32 32), 9 (32 64 + 64 64); scale and
        # bias of 16 16, 16 32, 32 64 and 64 channels; head 64 10 + 10.
        (CleanResNet(10), 432 + 4608 + 13_824 + 55_296 + 2 * (32 + 48 + 96 + 64) + 650),
        (CleanResNet(10, patch=2), 432 * 4 + 4608 + 13_824 + 55_296 + 2 * (32 + 48 + 96 + 64) + 650),
        # WRN-28-2 of the methods' papers is 1,467,610 with convolutions of 1 x 1 where channels grow, which the
        # padding spares: 16 32 + 32 64 + 64 128.
        (CleanResNet(10, 28, 2), 1_467_610 - (16 * 32 + 32 * 64 + 64 * 128)),
    ],
    ids=["wrn-10-1", "patch 2", "wrn-28-2"],
)
def test_number_of_parameters(network, parameters):
    assert count(network, (1, 32, 32, 3)) == parameters


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


class Normalised:
    """Batch normalisation in NumPy: by the batch's own statistics, which it keeps in the order of the layers, or by
    those of another."""

    def __init__(self, given=None):
        self.found, self.given = [], None if given is None else list(given)

    def __call__(self, p, x):
        mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if self.given is None else self.given.pop(0)
        self.found.append((mean, variance))
        return leaky((x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["bias"])


def numpy_network(p, x, patch, norm):
    """WRN-10-1: one block in each of three groups."""
    h = convolve(p["Conv_0"], patches(2 * x - 1, patch))
    number, convolution = iter(range(7)), iter(range(1, 7))
    for i, stride in enumerate((1, 2, 2)):
        before = norm(p[f"BatchNorm_{next(number)}"], h)
        r = convolve(p[f"Conv_{next(convolution)}"], before, stride)
        r = convolve(p[f"Conv_{next(convolution)}"], norm(p[f"BatchNorm_{next(number)}"], r))
        shortcut = before if i == 0 else h
        if stride == 2:
            shortcut = average(shortcut)
        h = r
        h[..., : shortcut.shape[-1]] += shortcut
    features = norm(p[f"BatchNorm_{next(number)}"], h).mean((1, 2))
    return dense(p["Dense_0"], features), features


@pytest.mark.parametrize(("patch", "size"), [(1, (8, 6)), (2, (8, 6)), (1, (7, 5))])
def test_network_is_the_formula(patch, size):
    x = X[:, : size[0], : size[1]]
    network = CleanResNet(5, patch=patch)
    p = random_parameters(network, x)
    norm = Normalised()
    expected = numpy_network(p, x, patch, norm)
    found = jax.jit(applied(network, {"params": p}))(x)
    assert np.ptp(expected[0], axis=0).max() > 0.1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)

    # What every layer saw, and the same network on other images with it.
    known = jax.jit(lambda x: statistics(network, {"params": p}, x))(x)
    assert set(known) == {f"BatchNorm_{i}" for i in range(7)}
    for i, (mean, variance) in enumerate(norm.found):
        np.testing.assert_allclose(known[f"BatchNorm_{i}"]["mean"], mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(known[f"BatchNorm_{i}"]["variance"], variance, rtol=1e-3, atol=1e-4)
    other = np.random.default_rng(1).uniform(size=x.shape) ** 2
    expected = numpy_network(p, other, patch, Normalised(norm.found))
    by_known = jax.jit(lambda x: applied(network, {"params": p}, known)(x))
    for one, right in zip(by_known(other), expected, strict=True):
        np.testing.assert_allclose(one, right, rtol=2e-3, atol=2e-4)
    by_itself = jax.jit(applied(network, {"params": p}))(other)[0]
    assert np.abs(by_known(other)[0] - by_itself).max() > 0.05


def test_with_statistics_of_a_batch_it_is_as_without_and_no_image_depends_on_others():
    network = CleanResNet(4)
    p = {"params": random_parameters(network, X)}
    known = jax.jit(lambda x: statistics(network, p, x))(X)
    alone, given = jax.jit(applied(network, p)), jax.jit(lambda x: applied(network, p, known)(x))
    for one, other in zip(given(X), alone(X), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    other = X.copy()
    other[1:] = 1 - other[1:] ** 2
    np.testing.assert_allclose(given(other)[0][0], given(X)[0][0], rtol=1e-5, atol=1e-6)
    assert np.abs(alone(other)[0][0] - alone(X)[0][0]).max() > 1e-2


def test_one_step_forward_keeps_nothing():
    """So that the training state is the parameters alone."""
    network = CleanResNet(4)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X.astype(np.float32))
    assert set(shapes) == {"params"}
    start = BatchNorm().init(jax.random.key(0), X.astype(np.float32))["params"]
    np.testing.assert_array_equal(start["scale"], [1, 1, 1])
    np.testing.assert_array_equal(start["bias"], [0, 0, 0])


def test_bfloat16_is_normalised_in_float32():
    """Around 100, of which the square alone takes more than the eight bits, the deviation of 1 is right."""
    x = jnp.asarray(100 + np.random.default_rng(0).normal(size=(64, 4, 4, 2)), jnp.bfloat16)
    found = BatchNorm().apply({"params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)}}, x)
    assert found.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
    np.testing.assert_allclose(np.asarray(found, np.float64), exact, atol=0.03)
    network = CleanResNet(4, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(network.init, jax.random.key(0), X.astype(np.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}
    p = jax.tree.map(np.float32, random_parameters(network, X))
    found, exact = (jax.jit(applied(m, {"params": p}))(X.astype(np.float32))[0] for m in (network, CleanResNet(4)))
    assert found.dtype == np.float32
    assert 1e-4 < np.linalg.norm(found - exact) / np.linalg.norm(exact) < 0.1
