import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_simpson

from scoressl_jax.sde import VE, VP, SubVP, expand

PROCESSES = [VE(), VE(0.02, 7.0), VP(), VP(0.3, 8.0), SubVP(), SubVP(0.3, 8.0)]
SHORT = [VE(), VP(), SubVP()]


def identify(sde):
    return repr(sde)


def integrate_moments(sde, times, mean, variance):
    """Mean and variance along dx = a(t) x dt + g(t) dw, from float64 quadrature of the process's own drift and
    diffusion. The drift must be linear in x, which `test_drift_is_linear` checks."""
    a = np.asarray(sde.drift(jnp.ones((len(times), 1)), jnp.asarray(times)))[:, 0]
    g = np.asarray(sde.diffusion(jnp.asarray(times)))
    log_mean = cumulative_simpson(a, x=times, initial=0)
    noise = cumulative_simpson(np.exp(-2 * log_mean) * g**2, x=times, initial=0)
    return mean * np.exp(log_mean), np.exp(2 * log_mean) * (variance + noise)


@pytest.mark.parametrize("sde", SHORT, ids=identify)
def test_drift_is_linear(sde):
    with jax.enable_x64(True):
        x, t = jnp.asarray([[2.0, -3.0], [0.5, 4.0]]), jnp.asarray([0.2, 0.9])
        unit = np.asarray(sde.drift(jnp.ones((2, 2)), t))
        np.testing.assert_allclose(sde.drift(x, t), unit * np.asarray(x), rtol=1e-12)


@pytest.mark.parametrize("sde", PROCESSES, ids=identify)
def test_marginal_solves_the_moment_equations(sde):
    times = np.linspace(0, 1, 2001)
    with jax.enable_x64(True):
        alpha, std = (np.asarray(v) for v in sde.marginal(jnp.asarray(times)))
        # A process starts from its own variance at 0: sigma_min^2 for VE by convention, 0 for the others.
        mean, variance = integrate_moments(sde, times, 1.7, std[0] ** 2)
    np.testing.assert_allclose(1.7 * alpha, mean, rtol=1e-6)
    np.testing.assert_allclose(std**2, variance, rtol=1e-5, atol=1e-8)


def test_noise_levels_at_the_ends():
    ends = jnp.asarray([0.0, 1.0])
    np.testing.assert_allclose(VE(0.01, 50.0).marginal(ends)[1], [0.01, 50.0], rtol=1e-5)
    integral = 0.5 * (0.1 + 20.0)  # of beta over [0, 1]
    np.testing.assert_allclose(VP().marginal(ends)[0], [1, np.exp(-integral / 2)], rtol=1e-5)
    np.testing.assert_allclose(VP().marginal(ends)[1], [0, np.sqrt(1 - np.exp(-integral))], rtol=1e-5)
    np.testing.assert_allclose(SubVP().marginal(ends)[1], [0, 1 - np.exp(-integral)], rtol=1e-5)


def test_facts_on_the_noise_near_zero():
    np.testing.assert_allclose(VE().marginal(jnp.asarray([0.01, 0.001]))[1], [0.01089, 0.010086], rtol=1e-4)


@pytest.mark.parametrize("sde", PROCESSES, ids=identify)
def test_inverse_std_is_the_inverse(sde):
    with jax.enable_x64(True):
        t = jnp.linspace(0.001, 0.999, 57)
        np.testing.assert_allclose(sde.inverse_std(sde.marginal(t)[1]), t, atol=1e-7)


@pytest.mark.parametrize("sde", SHORT, ids=identify)
def test_log_sigma_is_the_noise_to_signal_ratio(sde):
    t = np.asarray([1e-5, 0.1, 0.5, 0.95])
    if isinstance(sde, VE):
        expected = np.log(0.01) + t * np.log(5000.0)
    else:
        c = -0.25 * t**2 * 19.9 - 0.05 * t
        power = 1 if isinstance(sde, SubVP) else 0.5
        expected = power * np.log(1 - np.exp(2 * c)) - c
    np.testing.assert_allclose(sde.log_sigma(jnp.asarray(t, jnp.float32)), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("delta", "t", "growth"),
    [(0.1, 0.0, 0.2815), (0.1, 0.5, 0.0155), (0.1, 1.0, 0.0), (0.01, 0.0, 0.0814), (0.01, 1.0, 0.0)],
)
def test_later_time_has_the_published_growth(delta, t, growth):
    later = VE(0.01, 50.0).later_time(jnp.asarray([t]), delta)
    assert float(later[0]) - t == pytest.approx(growth, abs=6e-5)


@pytest.mark.parametrize("delta", [0.01, 0.4])
@pytest.mark.parametrize("sde", SHORT, ids=identify)
def test_later_time_is_the_largest_allowed(sde, delta):
    with jax.enable_x64(True):
        t = jnp.linspace(1e-5, 1.0, 101)
        later = sde.later_time(t, delta)
        grown = np.asarray(sde.marginal(later)[1] - sde.marginal(t)[1])
    later = np.asarray(later)
    assert (later >= np.asarray(t)).all()
    assert (later <= 1).all()
    assert grown.max() <= delta * (1 + 1e-6)
    free = later < 1 - 1e-9
    assert 5 < free.sum() < 101  # both cases occur
    np.testing.assert_allclose(grown[free], delta, rtol=1e-6)


def test_later_time_is_clamped_in_single_precision():
    for sde in SHORT:
        later = np.asarray(sde.later_time(jnp.asarray([0.999, 0.9999, 1.0]), 0.5))
        np.testing.assert_allclose(later, 1.0, atol=1e-3)
        assert (later <= 1).all()
        assert later[2] == 1


def test_ve_steps_telescope_to_the_final_variance():
    sde, steps = VE(0.01, 50.0), 7
    with jax.enable_x64(True):
        grid = jnp.linspace(1.0, sde.sampling_eps, steps)
        dt = (1.0 - sde.sampling_eps) / (steps - 1)
        f, g = sde.discretize(jnp.ones((steps, 2)), grid, dt)
    assert not np.asarray(f).any()
    np.testing.assert_allclose((np.asarray(g) ** 2).sum(), 50.0**2, rtol=1e-9)
    # From the last level all noise goes, sigma_-1 = 0; the step before goes from one level to the next.
    sigma = 0.01 * 5000.0 ** np.asarray(grid)
    np.testing.assert_allclose(np.asarray(g)[-1], sigma[-1], rtol=1e-9)
    np.testing.assert_allclose(np.asarray(g)[0] ** 2, sigma[0] ** 2 - sigma[1] ** 2, rtol=1e-9)


def test_ve_steps_telescope_on_the_samplers_grid_in_single_precision():
    for steps in (4, 1000):
        grid = jnp.linspace(1.0, 1e-5, steps)
        _, g = VE(0.01, 50.0).discretize(jnp.ones((steps, 1)), grid, (1.0 - 1e-5) / (steps - 1))
        np.testing.assert_allclose((np.asarray(g, np.float64) ** 2).sum(), 2500.0, rtol=1e-3)
        np.testing.assert_allclose(g[-1], 0.01, rtol=1e-3)
        assert g[-2] < 0.02 * 5000 ** (2 / steps)


def test_vp_steps_are_ddpm():
    n = 10
    beta = np.linspace(0.1 / n, 20 / n, n)[:5]  # above, beta exceeds 1 with so few steps
    t = np.arange(5) / (n - 1)
    x = np.random.default_rng(0).normal(size=(5, 3))
    f, g = VP().discretize(jnp.asarray(x), jnp.asarray(t), 1 / n)
    np.testing.assert_allclose(f, np.sqrt(1 - beta)[:, None] * x - x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(g, np.sqrt(beta), rtol=1e-5)
    np.testing.assert_allclose(VP().langevin_alpha(jnp.asarray(t), 1 / n), 1 - beta, rtol=1e-4)
    np.testing.assert_allclose(VE().langevin_alpha(jnp.asarray(t), 1 / n), 1)


def test_vp_keeps_a_coarse_grid_finite():
    f, g = VP().discretize(jnp.ones((1, 1)), jnp.ones(1), 0.5)  # beta dt = 10
    assert np.isfinite([float(f[0, 0]), float(g[0])]).all()
    assert float(g[0]) < 1


def test_sub_vp_steps_are_euler_maruyama():
    t, dt = np.asarray([0.1, 0.7]), 0.01
    beta = 0.1 + 19.9 * t
    g = np.sqrt(beta * (1 - np.exp(-2 * 0.1 * t - 19.9 * t**2)) * dt)
    found = SubVP().discretize(jnp.ones((2, 3)), jnp.asarray(t), dt)
    np.testing.assert_allclose(found[0], np.repeat((-0.5 * beta * dt)[:, None], 3, 1), rtol=1e-5)
    np.testing.assert_allclose(found[1], g, rtol=1e-5)


@pytest.mark.parametrize("sde", SHORT, ids=identify)
def test_perturb_scales_each_image_by_its_own_time(sde):
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, 3, 2, 2, 1))
    t = np.asarray([0.05, 0.5, 1.0], np.float32)
    alpha, std = (np.asarray(v) for v in sde.marginal(jnp.asarray(t)))
    found = sde.perturb(jnp.asarray(x), jnp.asarray(t), jnp.asarray(z))
    for i in range(3):
        np.testing.assert_allclose(found[i], alpha[i] * x[i] + std[i] * z[i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sde", PROCESSES, ids=identify)
def test_time_of_log_sigma_is_the_inverse(sde):
    t = jnp.asarray([1e-3, 0.01, 0.2, 0.7, 1.0])
    np.testing.assert_allclose(sde.time_of_log_sigma(sde.log_sigma(t)), t, rtol=2e-3)
    with jax.enable_x64(True):
        t = jnp.linspace(1e-5, 1.0, 57)
        np.testing.assert_allclose(sde.time_of_log_sigma(sde.log_sigma(t)), t, rtol=1e-6)


def test_expand_lines_times_up_with_images():
    assert expand(jnp.ones(4), jnp.zeros((4, 2, 3, 1))).shape == (4, 1, 1, 1)
    assert expand(jnp.ones(4), jnp.zeros(4)).shape == (4,)


def test_equal_processes_are_equal_and_hashable():
    assert VE(0.01, 50.0) == VE()
    assert hash(VE(0.01, 50.0)) == hash(VE())
    assert VP() != SubVP()
