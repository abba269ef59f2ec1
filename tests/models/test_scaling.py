import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.models.mlp import MLP
from scoressl_jax.models.scaling import ScoreNetwork

LOG_SIGMA = np.log([0.01, 0.5, 50.0])
X = np.random.default_rng(0).normal(size=(3, 2, 2, 1)) * np.exp(LOG_SIGMA).reshape(3, 1, 1, 1) + 0.5
SIGMA = np.exp(LOG_SIGMA).reshape(3, 1, 1, 1)


class Body(nn.Module):
    """Says what it was given: offset + gain times its input + log noise level."""

    offset: float = 0.0
    gain: float = 0.0
    level: float = 0.0

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        return self.offset + self.gain * x + self.level * log_sigma[:, None, None, None] + 100.0 * train


def run(body, scaling, **options):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda x, s: ScoreNetwork(body, scaling).apply({}, x, s, **options))(X, LOG_SIGMA))


def test_gaussian_scaling_without_a_body_is_the_score_of_a_gaussian():
    """x_0 ~ N(0.5, 0.5^2) plus noise sigma: N(0.5, sigma^2 + 0.25)."""
    np.testing.assert_allclose(run(Body(), "gaussian"), -(X - 0.5) / (SIGMA**2 + 0.25), rtol=1e-9)


def test_gaussian_scaling_of_input_and_output():
    s = np.sqrt(SIGMA**2 + 0.25)
    base = -(X - 0.5) / s**2
    offset = np.broadcast_to(2 * 0.5 / (SIGMA * s), X.shape)
    np.testing.assert_allclose(run(Body(offset=2.0), "gaussian") - base, offset, rtol=1e-7)
    np.testing.assert_allclose(run(Body(gain=1.0), "gaussian") - base, 0.5 / (SIGMA * s) * (X - 0.5) / s, rtol=1e-7)


def test_gaussian_scaling_asks_the_body_for_an_output_of_unit_size():
    """With N(0.5, 0.5^2) data the target left to the body, (-z / sigma - base) sigma s / 0.5, has variance 1."""
    rng = np.random.default_rng(1)
    for sigma in (0.02, 0.5, 20.0):
        x_0, z = 0.5 + 0.5 * rng.normal(size=100_000), rng.normal(size=100_000)
        s = np.sqrt(sigma**2 + 0.25)
        x = x_0 + sigma * z
        with jax.enable_x64(True):
            network = ScoreNetwork(Body(offset=1.0))
            one = np.asarray(network.apply({}, np.full((1, 1, 1, 1), 0.5), np.log([sigma])))  # the body's factor alone
        target = (-z / sigma + (x - 0.5) / s**2) / one.item()
        assert target.std() == pytest.approx(1, rel=0.02)


def test_sigma_scaling_is_score_sdes():
    np.testing.assert_allclose(run(Body(offset=3.0), "sigma"), np.broadcast_to(3 / SIGMA, X.shape), rtol=1e-9)
    np.testing.assert_allclose(run(Body(gain=1.0), "sigma"), (2 * X - 1) / SIGMA, rtol=1e-9)


@pytest.mark.parametrize("scaling", ["gaussian", "sigma"])
def test_body_is_told_the_noise_level_and_the_mode(scaling):
    factor = run(Body(offset=1.0), scaling) - run(Body(), scaling)
    level = run(Body(level=1.0), scaling) - run(Body(), scaling)
    np.testing.assert_allclose(level, factor * LOG_SIGMA.reshape(3, 1, 1, 1), rtol=1e-7)
    train = run(Body(), scaling, train=True) - run(Body(), scaling)
    np.testing.assert_allclose(train, 100 * factor, rtol=1e-7)


def test_a_small_gradient_step_lowers_the_loss_as_predicted():
    """First order: the step -h g changes the loss by -h |g|^2."""
    network = ScoreNetwork(MLP(width=8, blocks=1, embedding=2))
    rng = np.random.default_rng(2)
    x_0, z, sigma = rng.uniform(size=(6, 2, 2, 1)), rng.normal(size=(6, 2, 2, 1)), np.geomspace(0.05, 5, 6)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.ones((6, 2, 2, 1)), jnp.ones(6))
    params = jax.tree.map(lambda leaf: 0.3 * rng.normal(size=leaf.shape), shapes)
    sigma4 = sigma.reshape(6, 1, 1, 1)

    def loss(params):
        error = sigma4 * network.apply(params, x_0 + sigma4 * z, jnp.log(sigma)) + z
        return (error**2).mean()

    with jax.enable_x64(True):
        find = jax.jit(jax.value_and_grad(loss))
        value, grads = find(params)
        square = sum((np.asarray(g) ** 2).sum() for g in jax.tree.leaves(grads))
        h = 1e-5
        stepped, _ = find(jax.tree.map(lambda p, g: p - h * g, params, grads))
    assert square > 1e-3
    np.testing.assert_allclose(stepped - value, -h * square, rtol=0.01)
