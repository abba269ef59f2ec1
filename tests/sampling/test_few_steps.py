"""Ladders, single solvers in the forms of their papers, and orders of convergence."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.sampling.few_steps import calls, few_steps, ladder
from scoressl_jax.sampling.loop import draw_prior, image_keys, noise_for
from scoressl_jax.sde import VE, VP, SubVP

PROCESSES = [VE(0.02, 20.0), VP(), SubVP()]
M, S = 0.4, 0.3  # Gaussian data, every dimension by itself
SHAPE = (2, 2, 1)
KEYS = image_keys(jax.random.key(0), jnp.arange(5))


def gaussian_score(sde):
    def score_fn(x, t):
        alpha, std = (v.reshape(-1, 1, 1, 1) for v in sde.marginal(t))
        return -(x - alpha * M) / (alpha**2 * S**2 + std**2)

    return score_fn


def levels(sde, times):
    """alpha, std in float64; the clean image at the end."""
    if isinstance(sde, VE):
        alpha, std = np.ones_like(times), sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** times
    else:
        log_alpha = -0.25 * times**2 * 19.9 - 0.05 * times
        alpha = np.exp(log_alpha)
        std = 1 - alpha**2 if isinstance(sde, SubVP) else np.sqrt(1 - alpha**2)
    return np.append(alpha[:-1], 1.0), np.append(std[:-1], 0.0)


def epsilon(x, alpha, std):
    return std * (x - alpha * M) / (alpha**2 * S**2 + std**2)


def run(sde, steps, **options):
    return np.asarray(jax.jit(lambda k: few_steps(k, gaussian_score(sde), sde, SHAPE, steps=steps, **options))(KEYS))


def start(sde, t=1.0):
    return np.asarray(draw_prior(KEYS, sde, SHAPE, t), np.float64)


# Ladders


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
@pytest.mark.parametrize("schedule", ["time", "log_sigma", "karras"])
def test_ladder(sde, schedule):
    times = np.asarray(ladder(sde, 9, schedule=schedule, t_init=0.8), np.float64)
    assert times.shape == (10,)
    assert times[0] == pytest.approx(0.8)
    assert times[-2] == pytest.approx(sde.sampling_eps)
    assert times[-1] == 0
    alpha, std = levels(sde, times)
    sigma = (std / alpha)[:-1]
    inner = {"time": times[:-1], "log_sigma": np.log(sigma), "karras": sigma ** (1 / 7)}[schedule]
    np.testing.assert_allclose(np.diff(inner), (inner[-1] - inner[0]) / 8, rtol=0.02)


def test_karras_ladder_is_the_published_one():
    """sigma_i = (smax^(1/7) + i / (N - 1) (smin^(1/7) - smax^(1/7)))^7."""
    sde = VE(0.002, 80.0)
    i = np.arange(18)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    found = sde.marginal(ladder(sde, 18, schedule="karras")[:-1])[1]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_calls():
    assert (calls("dpm_solver", 20), calls("ddim", 50), calls("heun", 18)) == (20, 50, 35)


@pytest.mark.parametrize("solver", ["ddim", "dpm_solver", "heun"])
def test_the_score_is_called_as_often_as_said(solver):
    told = []
    sde = VP()

    def counted(x, t):
        jax.debug.callback(lambda: told.append(1))
        return gaussian_score(sde)(x, t)

    jax.block_until_ready(few_steps(KEYS, counted, sde, SHAPE, steps=4, solver=solver))
    jax.effects_barrier()
    assert len(told) == calls(solver, 4)


# The solvers as their papers write them, in float64 NumPy


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_on_vp(eta):
    """Song, Meng and Ermon 2021, eq. 12 and 16, in alpha_bar."""
    sde, steps = VP(), 5
    alpha, std = levels(sde, np.asarray(ladder(sde, steps, schedule="time"), np.float64))
    x = start(sde)
    for i in range(steps):
        eps = epsilon(x, alpha[i], std[i])
        a, a_next = alpha[i] ** 2, alpha[i + 1] ** 2
        noise = eta * np.sqrt((1 - a_next) / (1 - a)) * np.sqrt(1 - a / a_next)
        x_0 = (x - np.sqrt(1 - a) * eps) / np.sqrt(a)
        mean = np.sqrt(a_next) * x_0 + np.sqrt(max(1 - a_next - noise**2, 0)) * eps
        x = mean + noise * np.asarray(noise_for(KEYS, 1 + i, SHAPE))
    np.testing.assert_allclose(run(sde, steps, solver="ddim", schedule="time", eta=eta), mean, rtol=2e-3, atol=2e-4)


def test_ddim_on_ve_is_the_released_ancestral_step_at_eta_1():
    sde, steps = VE(0.02, 20.0), 5
    _, std = levels(sde, np.asarray(ladder(sde, steps, schedule="time"), np.float64))
    x = start(sde)
    for i in range(steps):
        gap = std[i] ** 2 - std[i + 1] ** 2
        mean = x - epsilon(x, 1.0, std[i]) / std[i] * gap
        x = mean + np.sqrt(std[i + 1] ** 2 * gap / std[i] ** 2) * np.asarray(noise_for(KEYS, 1 + i, SHAPE))
    np.testing.assert_allclose(run(sde, steps, solver="ddim", schedule="time", eta=1.0), mean, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_dpm_solver(sde):
    """Lu et al. 2022, algorithm 2 (2M), in alpha, sigma = std and lambda = log(alpha / std)."""
    steps = 6
    alpha, std = levels(sde, np.asarray(ladder(sde, steps, schedule="karras"), np.float64))
    x, before = start(sde), None
    for i in range(steps):
        x_0 = (x - std[i] * epsilon(x, alpha[i], std[i])) / alpha[i]
        if i == steps - 1:
            x = x_0  # lambda is infinite
            break
        lam = np.log(alpha / np.where(std > 0, std, 1))
        h = lam[i + 1] - lam[i]
        d = x_0 if i == 0 else (1 + 1 / (2 * r(lam, i))) * x_0 - 1 / (2 * r(lam, i)) * before
        x = std[i + 1] / std[i] * x - alpha[i + 1] * np.expm1(-h) * d
        before = x_0
    np.testing.assert_allclose(run(sde, steps, solver="dpm_solver", schedule="karras"), x, rtol=2e-3, atol=3e-4)


def r(lam, i):
    return (lam[i] - lam[i - 1]) / (lam[i + 1] - lam[i])


def test_heun_on_ve():
    """Karras et al. 2022, algorithm 1."""
    sde, steps = VE(0.02, 20.0), 6
    _, std = levels(sde, np.asarray(ladder(sde, steps, schedule="karras"), np.float64))
    x = start(sde)
    for i in range(steps):
        d = epsilon(x, 1.0, std[i])
        new = x + (std[i + 1] - std[i]) * d
        if i < steps - 1:
            new = x + (std[i + 1] - std[i]) * (d + epsilon(new, 1.0, std[i + 1])) / 2
        x = new
    np.testing.assert_allclose(run(sde, steps, solver="heun", schedule="karras"), x, rtol=2e-3, atol=2e-4)


# Convergence


def on_the_curve(sde, x, t):
    """Where the ODE takes x from t to sampling_eps, and the denoised image there: closed form for Gaussian data."""
    alpha, std = levels(sde, np.asarray([t, sde.sampling_eps, 0.0]))
    sigma = std[:2] / alpha[:2]
    moved = M + np.sqrt((S**2 + sigma[1] ** 2) / (S**2 + sigma[0] ** 2)) * (x / alpha[0] - M)
    return moved - sigma[1] ** 2 / (S**2 + sigma[1] ** 2) * (moved - M)


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm_solver", 2), ("heun", 2)])
def test_order_of_convergence(sde, solver, order):
    """The slope of log error against log step."""
    steps, errors = np.asarray([24, 48, 96]), []
    with jax.enable_x64(True):
        for n in steps:
            options = dict(steps=int(n), solver=solver, schedule="log_sigma")
            found = jax.jit(partial(few_steps, score_fn=gaussian_score(sde), sde=sde, shape=SHAPE, **options))(KEYS)
            x = np.asarray(draw_prior(KEYS, sde, SHAPE, 1.0))
            errors.append(np.abs(np.asarray(found) - on_the_curve(sde, x, 1.0)).max())
    slope = np.polyfit(np.log(1 / (steps - 1)), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.25)
    assert errors[-1] < 0.05


# Options


def test_later_start_and_its_prior():
    sde = VE(0.02, 20.0)
    found = run(sde, 60, solver="dpm_solver", t_init=0.6)
    np.testing.assert_allclose(found, on_the_curve(sde, start(sde, 0.6), 0.6), atol=2e-3)
    other = run(sde, 60, solver="dpm_solver", t_init=0.6, prior="uniform_gaussian")
    x = np.asarray(draw_prior(KEYS, sde, SHAPE, 0.6, "uniform_gaussian"), np.float64)
    np.testing.assert_allclose(other, on_the_curve(sde, x, 0.6), atol=2e-3)


def test_clip_keeps_what_is_denoised_in_range():
    sde = VP()
    free, clipped = (run(sde, 8, solver="dpm_solver", clip=clip) for clip in (False, True))
    assert free.min() < -0.01 or free.max() > 1.01
    assert clipped.min() >= 0
    assert clipped.max() <= 1
