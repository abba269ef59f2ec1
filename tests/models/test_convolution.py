import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.models.convolution import DIMENSIONS, Conv, conv_general_dilated

# (strides, kernel, padding, input dilation, kernel dilation) on images of 5 x 6
CASES = [
    ((1, 1), (3, 3), "SAME", None, None),
    ((2, 2), (3, 3), "SAME", None, None),
    ((2, 2), (3, 3), "VALID", None, None),
    ((2, 2), (1, 1), "SAME", None, None),
    ((2, 1), (3, 2), ((2, 0), (1, 3)), (1, 2), (2, 1)),
]


def scalars(conv, x, w, v, u):
    """Something of each order: the output, both gradients, and the gradients of their squared norms."""

    def first(x, w):
        y = conv(x, w)
        return jax.grad(lambda x, w: (jnp.sin(conv(x, w)) * v[..., : y.shape[-1]].mean()).sum(), argnums=(0, 1))(x, w)

    def second(x, w):
        gx, gw = first(x, w)
        return (jnp.cos(gx) * u).sum() + (gw**3).sum()

    return conv(x, w), first(x, w), jax.grad(second, argnums=(0, 1))(x, w)


@pytest.mark.parametrize(("strides", "kernel", "padding", "x_dilation", "w_dilation"), CASES)
def test_convolution_and_its_gradients_are_those_of_lax(strides, kernel, padding, x_dilation, w_dilation):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 5, 6, 3)), rng.normal(size=(*kernel, 3, 4))
    v, u = rng.normal(size=(1, 1, 1, 4)), rng.normal(size=x.shape)
    args = strides, padding, x_dilation, w_dilation

    @jax.jit
    def both(x, w):
        ours = scalars(lambda x, w: conv_general_dilated(x, w, *args), x, w, v, u)
        lax = scalars(lambda x, w: jax.lax.conv_general_dilated(x, w, *args, DIMENSIONS), x, w, v, u)
        return ours, lax

    ours, lax = both(x.astype(np.float32), w.astype(np.float32))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(lax), strict=True):
        assert a.shape == b.shape
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(np.abs(b).max()))


def test_padding_by_hand():
    """Stride 2 with SAME on an even size pads on the high side alone, as XLA and TensorFlow do."""
    x = jnp.arange(4.0).reshape(1, 4, 1, 1)
    w = jnp.asarray([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1)
    found = conv_general_dilated(x, w, (2, 1), "SAME")
    np.testing.assert_allclose(found.ravel(), [0 + 10 + 200, 2 + 30 + 0])


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in jax.tree.leaves(value, is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
                if hasattr(inner, "jaxpr"):
                    yield from equations(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from equations(inner)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_every_convolution_is_canonical(order):
    """The point of the module: no gradient, of any order, holds a dimension order that XLA's CPU code is slow on."""

    def f(x, w):
        return (conv_general_dilated(x, w, (2, 2), "SAME") ** 3).sum()

    for _ in range(order):
        f = (lambda g: lambda x, w: sum((leaf**2).sum() for leaf in jax.grad(g, argnums=(0, 1))(x, w)))(f)
    jaxpr = jax.make_jaxpr(f)(jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4)))
    found = [e for e in equations(jaxpr.jaxpr) if e.primitive.name == "conv_general_dilated"]
    assert len(found) >= 1 + 2 * order
    canonical = jax.lax.conv_dimension_numbers((2, 6, 6, 3), (3, 3, 3, 4), DIMENSIONS)
    assert DIMENSIONS == ("NHWC", "HWIO", "NHWC")
    assert {e.params["dimension_numbers"] for e in found} == {canonical}
    assert {e.params["feature_group_count"] for e in found} == {1}


def test_layer_is_flaxs_layer():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 4, 6, 3))
    ours, theirs = Conv(5, (3, 3), strides=2), nn.Conv(5, (3, 3), strides=2)
    shapes = jax.eval_shape(theirs.init, jax.random.key(1), x)
    assert jax.eval_shape(ours.init, jax.random.key(1), x) == shapes
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    np.testing.assert_allclose(jax.jit(ours.apply)(params, x), jax.jit(theirs.apply)(params, x), rtol=1e-5, atol=1e-5)
