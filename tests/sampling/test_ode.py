import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from scoressl_jax.sampling.loop import draw_prior, image_keys
from scoressl_jax.sampling.ode import flow, ode_sampler, solve
from scoressl_jax.sde import VE, VP, SubVP
from tests.sampling.exact import make_mixture, score

PROCESSES = [VE(0.02, 20.0), VP(), SubVP()]
TWO, SHAPE = make_mixture(dimension=9), (3, 3, 1)


def test_every_image_has_its_own_steps():
    """Decay at three rates: accuracy, calls, and no influence of a stiff neighbour."""
    rates = jnp.asarray([1.0, 3.0, 80.0])
    decay = lambda rates: lambda y, t: -rates[:, None] * y  # noqa: E731
    run = jax.jit(lambda rates, y: solve(decay(rates), y, 0.0, 1.0, tolerance=1e-5))
    y, calls = run(rates, jnp.ones((3, 2)))
    np.testing.assert_allclose(y, np.exp(-np.asarray(rates))[:, None] * np.ones((3, 2)), atol=3e-5)
    assert calls[0] < calls[1] < calls[2]
    same, calls_of_same = run(jnp.asarray([1.0, 3.0, 3.0]), jnp.ones((3, 2)))
    np.testing.assert_array_equal(same[:2], y[:2])
    np.testing.assert_array_equal(calls_of_same[:2], calls[:2])


def test_calls_are_counted_as_they_are_made():
    told = []

    def field(y, t):
        jax.debug.callback(lambda: told.append(1))
        return -3 * y

    _, calls = jax.block_until_ready(solve(field, jnp.ones((1, 2)), 0.0, 1.0, tolerance=1e-5))
    jax.effects_barrier()
    assert len(told) == pytest.approx(int(calls[0]), abs=1)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_decoding_against_scipy(sde):
    """The same ODE written again in float64 NumPy from the process's formulas, solved by LSODA."""
    x = np.asarray(draw_prior(image_keys(jax.random.key(0), jnp.arange(3)), sde, (9,), 1.0))
    found, _ = jax.jit(lambda x: flow(score(TWO, sde), sde, x, 1.0, sde.sampling_eps, tolerance=1e-6))(x)

    def slope(t, x):
        if isinstance(sde, VE):
            std = sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
            alpha, beta, g2 = 1.0, 0.0, 2 * std**2 * np.log(sde.sigma_max / sde.sigma_min)
        else:
            alpha, beta = np.exp(-0.25 * t**2 * 19.9 - 0.05 * t), 0.1 + 19.9 * t
            sub = isinstance(sde, SubVP)
            std, g2 = (1 - alpha**2, beta * (1 - alpha**4)) if sub else (np.sqrt(1 - alpha**2), beta)
        variance = alpha**2 * TWO.spreads**2 + std**2
        off = (x - alpha * TWO.means) @ TWO.axes
        log_p = np.log(TWO.weights) - 0.5 * (off**2 / variance).sum(1)
        posterior = np.exp(log_p - log_p.max())
        gradient = -(posterior / posterior.sum()) @ (off / variance) @ TWO.axes.T
        return -0.5 * beta * x - 0.5 * g2 * gradient

    for start, end in zip(x.astype(float), found, strict=True):
        exact = solve_ivp(slope, (1.0, sde.sampling_eps), start, "LSODA", rtol=1e-9, atol=1e-10).y[:, -1]
        np.testing.assert_allclose(end, exact, atol=2e-3)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_encoding_then_decoding_returns_the_image(sde):
    x = 0.4 + 0.3 * np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    there = jax.jit(lambda x: flow(score(TWO, sde), sde, x, sde.sampling_eps, 1.0, tolerance=1e-6)[0])(x)
    back = jax.jit(lambda x: flow(score(TWO, sde), sde, x, 1.0, sde.sampling_eps, tolerance=1e-6)[0])(there)
    assert np.abs(np.asarray(there) - x).max() > 0.3
    np.testing.assert_allclose(back, x, atol=2e-3)


def test_samples_end_with_the_denoised_image():
    """For one point as data the score is exact, and every sample is that point."""
    sde, point = VP(), 0.7
    point_score = lambda x, t: -(x - sde.marginal(t)[0][:, None] * point) / sde.marginal(t)[1][:, None] ** 2  # noqa: E731
    keys = image_keys(jax.random.key(0), jnp.arange(4))
    np.testing.assert_allclose(ode_sampler(keys, point_score, sde, (3,), tolerance=1e-4), point, atol=1e-4)


def test_too_many_steps_give_nan():
    wild = lambda y, t: jnp.where(t[:, None] > 0.5, 1e6 * jnp.sin(1e9 * t[:, None] * y), y)  # noqa: E731
    y, _ = jax.jit(lambda y: solve(wild, y, 0.0, 1.0, tolerance=1e-7))(jnp.ones((1, 1)))
    assert np.isnan(y).all()
