"""Langevin dynamics of a Gaussian, whose discretised limit is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.sampling.langevin import langevin
from scoressl_jax.sampling.loop import image_keys

MEAN, VARIANCE = np.asarray([1.0, -2.0]), np.asarray([4.0, 1.0])


def draw(count=4000, steps=60, step=1.0, swapped=False, start=0):
    score = lambda x, t: -(x - MEAN) / VARIANCE  # noqa: E731
    keys = image_keys(jax.random.key(0), start + jnp.arange(count))
    return np.asarray(jax.jit(lambda keys: langevin(keys, score, np.full(steps, 0.5), (2,), step, swapped))(keys))


@pytest.mark.parametrize("swapped", [False, True])
def test_limit(swapped):
    """x' = m + (1 - a) (x - m) + step z has variance step^2 / (1 - (1 - a)^2)."""
    step = 0.5
    a = (np.sqrt(2 * step) if swapped else step**2 / 2) / VARIANCE
    x = draw(steps=200, step=step, swapped=swapped)
    np.testing.assert_allclose(x.mean(0), MEAN, atol=4 * np.sqrt(VARIANCE / len(x)).max())
    expected = step**2 / (1 - (1 - a) ** 2)
    np.testing.assert_allclose(x.var(0), expected, rtol=0.1)
    assert not swapped or (np.abs(expected - VARIANCE) > 0.3 * VARIANCE).all()


def test_a_sample_depends_on_its_key_alone():
    np.testing.assert_allclose(draw(count=5)[2:], draw(count=3, start=2), rtol=1e-6)


def test_times_reach_the_score_in_order():
    seen = lambda x, t: t[:, None] * jnp.ones_like(x)  # noqa: E731
    times = np.asarray([0.25, 0.5])
    run = jax.jit(lambda keys, scale: langevin(keys, lambda x, t: scale * seen(x, t), times, (2,), 2.0))
    keys = image_keys(jax.random.key(0), jnp.arange(3))
    np.testing.assert_allclose(run(keys, 1.0) - run(keys, 0.0), np.full((3, 2), 2 * (0.25 + 0.5)), rtol=1e-4)
