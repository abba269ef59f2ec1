import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from scoressl_jax.sampling.loop import clean_or, draw_prior, image_keys, noise_for, reverse_process
from scoressl_jax.sde import VE, VP, SubVP

PROCESSES = [VE(0.01, 50.0), VP(), SubVP()]


def keys(count, seed=0):
    return image_keys(jax.random.key(seed), jnp.arange(count))


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
@pytest.mark.parametrize("t", [0.4, 1.0])
def test_gaussian_prior_is_the_noise_of_its_time(sde, t):
    x = np.asarray(draw_prior(keys(300), sde, (4, 4, 1), t))
    assert kstest(x.ravel(), "norm", args=(0, float(sde.marginal(jnp.asarray(t))[1]))).pvalue > 0.01


@pytest.mark.parametrize("sde", [VE(0.01, 50.0), VP()], ids=repr)
def test_uniform_gaussian_prior_adds_images_of_noise(sde):
    """x = alpha u + std z: with the noise of the Gaussian prior taken away, u is uniform."""
    alpha, std = (float(v) for v in sde.marginal(jnp.asarray(0.3)))
    x, z = (np.asarray(draw_prior(keys(300), sde, (4, 4, 1), 0.3, p)) for p in ("uniform_gaussian", "gaussian"))
    u = ((x - z) / alpha).ravel()
    assert kstest(u, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u, z.ravel())[0, 1]) < 0.05
    assert x.std() == pytest.approx(np.hypot(std, alpha / np.sqrt(12)), rel=0.05)


def test_clean_images_have_no_noise():
    for sde in PROCESSES:
        alpha, std = (np.asarray(v) for v in clean_or(sde, jnp.asarray([0.0, -0.1, 0.5])))
        np.testing.assert_array_equal((alpha[:2], std[:2]), ([1, 1], [0, 0]))
        np.testing.assert_allclose((alpha[2], std[2]), [float(v) for v in sde.marginal(jnp.asarray(0.5))])


def test_moves_in_order_with_their_own_entries_noise_and_memory():
    moves = {"t": jnp.asarray([0.9, 0.5]), "t_next": jnp.asarray([0.5, 0.0]), "gain": jnp.asarray([2.0, 3.0])}
    seen = []

    def move(x, score, z, step, memory):
        return x + step["gain"] * score + z, x + step["gain"] * score, (memory[0] + x,)

    def move_and_keep(*a):
        x, mean, memory = move(*a)
        return x, mean + memory[0], memory

    k = keys(3)
    score_fn = lambda x, t: seen.append(x.shape) or t[:, None] * jnp.ones_like(x)  # noqa: E731
    found = jax.jit(lambda k: reverse_process(k, score_fn, VP(), (2,), moves, move_and_keep, memory=1))(k)
    x_0 = np.asarray(draw_prior(k, VP(), (2,), 0.9))
    x_1 = x_0 + 2 * 0.9 + np.asarray(noise_for(k, 1, (2,)))
    np.testing.assert_allclose(found, x_1 + 3 * 0.5 + x_0 + x_1, rtol=1e-5)
    assert len(seen) == 1, "the score is traced once"


def test_known_parts_are_set_after_every_move_and_the_mean_without_noise():
    moves = {"t": jnp.asarray([0.9, 0.5]), "t_next": jnp.asarray([0.5, 0.25])}
    calls = []

    def project(x, t, z):
        calls.append(t)
        return x.at[:, 0].set(10 * t + z[:, 0])

    k = keys(500)
    arrived = jax.jit(lambda k: reverse_process(
        k, lambda x, t: x, VP(), (2,), moves, lambda x, score, z, step, memory: (x, score, memory), project=project
    ))(k)
    np.testing.assert_allclose(arrived[:, 0], 2.5, rtol=1e-6)  # the mean's: 10 t_next of the last move, no noise
    first = np.asarray(draw_prior(k, VP(), (2,), 0.9))[:, 1]
    np.testing.assert_allclose(arrived[:, 1], first, rtol=1e-5)
    # What the last move saw in the known place had arrived at t = 0.5 with fresh noise.
    seen = jax.jit(lambda k: reverse_process(
        k, lambda x, t: x[:, ::-1], VP(), (2,), moves, lambda x, score, z, step, memory: (x, score, memory),
        project=project,
    ))(k)
    assert np.asarray(seen)[:, 1].mean() == pytest.approx(5, abs=0.2)
    assert np.asarray(seen)[:, 1].std() == pytest.approx(1, abs=0.1)


def test_progress_is_told_of_every_move():
    told = []
    moves = {"t": jnp.linspace(0.9, 0.1, 5), "t_next": jnp.linspace(0.7, 0.0, 5)}
    jax.block_until_ready(jax.jit(lambda k: reverse_process(
        k, lambda x, t: x, VP(), (2,), moves, lambda x, score, z, step, memory: (x, x, memory),
        progress=lambda done, of: told.append((int(done), int(of))),
    ))(keys(2)))
    jax.effects_barrier()
    assert sorted(told) == [(i, 5) for i in range(1, 6)]
