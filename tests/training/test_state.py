"""Optimisers and schedules against recursions in NumPy; what a state carries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.training.state import MemoryState, TrainState, init_state, make_optimizer

RATE, DECAY, WARMUP, STEPS = 0.1, 0.3, 4, 12
START = {"Dense_0": {"kernel": np.array([[1.0, -2.0]]), "bias": np.array([0.5, 4.0])}, "scale": np.array([3.0])}


def rate_of(count, schedule):
    value, done = RATE * min((count + 1) / WARMUP, 1.0), min(count / STEPS, 1.0)
    shapes = {"constant": 1.0, "cosine": (1 + np.cos(np.pi * done)) / 2, "cosine_7_16": np.cos(7 * np.pi * done / 16)}
    return value * shapes[schedule]


def gradients(steps):
    rng = np.random.default_rng(0)
    return [jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), START) for _ in range(steps)]


@pytest.mark.parametrize(("schedule", "clip"), [("constant", 0.0), ("cosine", 1.0), ("cosine_7_16", 1.0)])
def test_sgd_has_nesterov_momentum_and_shrinks_kernels_alone(schedule, clip):
    """v = .9 v + g, w -= rate (g + .9 v), where g has decay w of kernels, after the clip."""
    optimizer = make_optimizer(
        learning_rate=RATE,
        weight_decay=DECAY,
        warmup=WARMUP,
        clip=clip,
        schedule=schedule,
        steps=STEPS,
        optimizer="sgd",
    )
    params = jax.tree.map(jnp.asarray, START)
    state, w = optimizer.init(params), START
    v, is_kernel = jax.tree.map(np.zeros_like, w), {"Dense_0": {"kernel": 1.0, "bias": 0.0}, "scale": 0.0}
    clipped = 0
    for count, g in enumerate(gradients(15)):
        update, state = jax.jit(optimizer.update)(jax.tree.map(jnp.asarray, g), state, params)
        params = jax.tree.map(jnp.add, params, update)
        norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(g)))
        clipped += norm > clip > 0
        g = jax.tree.map(lambda leaf, n=norm: leaf * (min(1.0, clip / n) if clip else 1.0), g)
        g = jax.tree.map(lambda g, w, kernel: g + DECAY * kernel * w, g, w, is_kernel)
        v = jax.tree.map(lambda v, g: 0.9 * v + g, v, g)
        w = jax.tree.map(lambda w, g, v, n=count: w - rate_of(n, schedule) * (g + 0.9 * v), w, g, v)
        jax.tree.map(
            lambda found, expected: np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5), params, w
        )
    assert (clipped > 5) == bool(clip)


def test_fixmatch_s_schedule_ends_at_a_fifth_of_the_rate():
    """cos(7 pi k / 16 K), of AdamW too, whose first steps are the rate itself, each."""
    optimizer = make_optimizer(
        learning_rate=RATE, weight_decay=0.0, warmup=0, clip=0.0, schedule="cosine_7_16", steps=STEPS
    )
    params, g = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
    state, found = optimizer.init(params), []
    for _ in range(STEPS + 3):
        update, state = jax.jit(optimizer.update)(g, state, params)
        found.append(-float(update["w"][0]))
    expected = [RATE * np.cos(7 * np.pi / 16 * min(k / STEPS, 1)) for k in range(STEPS + 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found[-1] == pytest.approx(0.195 * RATE, rel=1e-3)


def test_a_state_has_a_memory_where_there_is_something_to_carry():
    optimizer = make_optimizer(learning_rate=1.0, weight_decay=0, warmup=0, clip=0, schedule="constant", steps=1)
    plain = init_state({"w": jnp.ones(2)}, optimizer)
    assert type(plain) is TrainState
    for memory in ((), {"a": jnp.arange(3)}):
        state = init_state({"w": jnp.ones(2)}, optimizer, memory)
        assert type(state) is MemoryState
        assert state.memory is memory
        assert int(state.step) == int(state.attempt) == 0
