"""The hand-written derivatives against automatic ones of the plain formula, and against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.studies.moons.relu import relu_network

SIZES = 2, 7, 5


def make_case(seed=0, batch=6):
    rng, (d, n1, n2) = np.random.default_rng(seed), SIZES
    shapes = (d, n1), (n1,), (n1, n2), (n2,), (n2,)
    return tuple(rng.normal(size=shape) for shape in shapes), rng.normal(size=(batch, d))


def plain(params, x):
    w1, b1, w2, b2, v = params
    return jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2) @ v


def losses_of(network):
    """A loss of the value, one of the gradient, and one of both."""
    slope = lambda params, x: jax.grad(lambda x: network(params, x).sum())(x)  # noqa: E731
    weighted = lambda params, x: jax.grad(lambda x: jax.nn.softplus(network(params, x)).sum())(x)  # noqa: E731
    return {
        "value": lambda params, x: jnp.sin(network(params, x)).sum(),
        "slope": lambda params, x: jnp.tanh(slope(params, x)).sum(),
        "both": lambda params, x: (jnp.exp(-weighted(params, x)) * network(params, x)[:, None]).sum(),
    }


@pytest.mark.parametrize("loss", ["value", "slope", "both"])
def test_value_and_derivatives_are_those_of_the_formula(loss):
    with jax.enable_x64(True):
        params, x = make_case()
        find = lambda network: jax.jit(jax.value_and_grad(losses_of(network)[loss], argnums=(0, 1)))(params, x)  # noqa: E731
        found, expected = find(relu_network), find(plain)
        assert abs(expected[0]) > 1e-3
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)
        assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(found[1][0][2]))


def test_gradient_of_a_loss_of_the_gradient_by_finite_differences():
    with jax.enable_x64(True):
        params, x = make_case(1)
        loss = jax.jit(losses_of(relu_network)["both"])
        grads = jax.jit(jax.grad(loss))(params, x)
        rng = np.random.default_rng(5)
        for i, part in enumerate(params):
            direction = rng.normal(size=part.shape)
            moved = [loss((*params[:i], part + step * direction, *params[i + 1 :]), x) for step in (1e-6, -1e-6)]
            np.testing.assert_allclose((grads[i] * direction).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-5, atol=1e-8)
