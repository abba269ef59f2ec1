import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.guidance import make_score_fn
from scoressl_jax.models.mlp import MLP
from scoressl_jax.models.scaling import ScoreNetwork
from scoressl_jax.sde import VE, VP, SubVP

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


class Denoiser(nn.Module):
    """What score_sde's VP and sub-VP networks learn, -std score at 999 t, for N(m, s^2) data in [-1, 1]."""

    process: object
    mean: float = 0.3
    std: float = 0.4

    @nn.compact
    def __call__(self, x, level, train=False):
        alpha, std = (v[:, None, None, None] for v in self.process.marginal(level / 999))
        return std * (x - alpha * self.mean) / (alpha**2 * self.std**2 + std**2)


@pytest.mark.parametrize("process", [VP(), SubVP()], ids=["vp", "subvp"])
def test_time_scaling_is_score_sdes_for_images_in_minus_one_to_one(process):
    """The score of N((m + 1) / 2, s^2 / 4) plus noise sigma; close to it beyond t = 1, where no image is left."""
    with jax.enable_x64(True):
        t = np.array([1e-4, 0.02, 0.4, 0.97])
        sigma = np.exp(np.asarray(process.log_sigma(t))) / 2
        sigma = np.concatenate([sigma, [2 * np.exp(float(process.log_sigma(np.float64(1.0))))]])
        x = 0.65 + sigma[:, None, None, None] * np.random.default_rng(0).normal(size=(5, 2, 2, 1))
        network = ScoreNetwork(Denoiser(process), "time", process)
        found = np.asarray(network.apply({}, x, np.log(sigma)))
    expected = -(x - 0.65) / (0.04 + sigma[:, None, None, None] ** 2)
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-6)
    assert np.linalg.norm(found[4] - expected[4]) < 5e-3 * np.linalg.norm(expected[4])


def test_a_vp_network_is_a_score_function_of_images_in_unit_range():
    """Behind make_score_fn nothing shows that it was trained on [-1, 1]: N(0.65, 0.2^2) data diffused by our VP."""
    process, t = VP(), np.array([0.01, 0.5, 0.9])
    x_t = np.random.default_rng(0).normal(size=(3, 2, 2, 1))
    with jax.enable_x64(True):
        network = ScoreNetwork(Denoiser(process), "time", process)
        found = make_score_fn(process, lambda x, s: network.apply({}, x, s))(x_t, t)
        alpha, std = (np.asarray(v)[:, None, None, None] for v in process.marginal(t))
    np.testing.assert_allclose(found, -(x_t - alpha * 0.65) / (alpha**2 * 0.04 + std**2), rtol=1e-6)


def test_index_scaling_counts_levels_from_the_highest():
    process = VE(0.01, 50.0)
    levels = np.exp(np.linspace(np.log(50.0), np.log(0.01), 1000))
    sigma = np.array([50.0, levels[1] * 1.001, levels[700] * 0.999, 0.01])
    x = np.full((4, 1, 1, 1), 0.7)
    with jax.enable_x64(True):
        apply = lambda body: ScoreNetwork(body, "index", process).apply({}, x, np.log(sigma))[:, 0, 0, 0]  # noqa: E731
        np.testing.assert_allclose(apply(Body(level=1.0)), [0, 1 / levels[1], 700 / levels[700], 999 / 0.01], rtol=1e-6)
        np.testing.assert_allclose(apply(Body(gain=1.0)), 0.4 / levels[[0, 1, 700, 999]], rtol=1e-6)


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
