"""Losses that see the state, its averages and its memory, and what is done between steps, over the compiled loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scoressl_jax.devices import device_mesh
from scoressl_jax.errors import Interrupted
from scoressl_jax.training.loop import Job, train
from scoressl_jax.training.state import init_state
from scoressl_jax.training.step import make_multi_update, make_update

EMA, RATE, STEPS = 0.6, 0.1, 23
X = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
START = np.array([1.0, -2.0], np.float32)


class Never:
    def requested(self):
        return False


class At:
    """A stop signal that arrives in the n-th call."""

    def __init__(self, calls):
        self.calls = calls

    def requested(self):
        self.calls -= 1
        return self.calls <= 0


def loss_fn(params, given, batch, key):
    """Towards the batch and the average, by a weight that the memory holds; the memory counts and averages."""
    frozen, state = given
    target = jax.lax.stop_gradient(state.ema_params["w"])
    memory = {"mean": 0.5 * state.memory["mean"] + 0.5 * batch.mean(0), "count": state.memory["count"] + 1}
    loss = ((params["w"] - batch) ** 2).sum(1).mean() + frozen * (memory["mean"] * (params["w"] - target) ** 2).sum()
    return loss, {"to_average": ((params["w"] - target) ** 2).sum(), "memory": memory}


def numpy_training(batches, frozen):
    w, ema, mean = START.astype(np.float64), START.astype(np.float64), np.zeros(2)
    for n, batch in enumerate(batches):
        mean = 0.5 * mean + 0.5 * batch.mean(0)
        logs = ((w - ema) ** 2).sum()
        w_new = w - RATE * (2 * (w - batch).mean(0) + 2 * frozen * mean * (w - ema))
        decay = min(EMA, (1 + n) / (10 + n))
        w, ema = w_new, decay * ema + (1 - decay) * w_new
        yield w, ema, mean, logs


def make_batch(arrays, indices, key):
    return arrays["x"][indices["x"]]


def make_job(**changes):
    optimizer, memory = optax.sgd(RATE), {"mean": jnp.zeros(2), "count": jnp.zeros(())}
    fields = dict(
        name="taught",
        update=make_update(loss_fn, make_batch, optimizer, EMA, sees_state=True),
        init_state=lambda: init_state({"w": jnp.asarray(START)}, optimizer, memory),
        arrays={"x": X}, frozen=jnp.float32(0.7), pools={"x": np.arange(16)}, batch_sizes={"x": 4}, steps=STEPS, seed=0,
        steps_per_call=5, checkpoint_every=8, max_rollbacks=0, remedy="",
    )  # fmt: skip
    return Job(**(fields | changes))


def test_the_loss_sees_the_averages_before_the_step_and_hands_its_memory_on():
    job = make_job(steps_per_call=5)
    run, indices = make_multi_update(job.update, device_mesh()), job.indices(0, 0, 5)
    batches = X[indices["x"]].astype(np.float64)
    for count in (1, 2, 5):
        state, logs = run(jax.jit(job.init_state)(), job.arrays, job.frozen, indices, count, jax.random.key(0))
        assert "memory" not in logs
        *_, (w, ema, mean, _) = numpy_training(batches[:count], 0.7)
        for found, expected in ((state.params["w"], w), (state.ema_params["w"], ema), (state.memory["mean"], mean)):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert state.memory["count"] == count
        seen = [logs for *_, logs in numpy_training(batches[:count], 0.7)]
        np.testing.assert_allclose(logs["to_average"][:count], seen, rtol=1e-4, atol=1e-6)
    assert np.abs(ema - w).max() > 0.01


# Between steps


def noted(calls):
    """A `between` that notes when it is called, and changes the memory by what the state and the arrays hold."""

    def between(state, arrays):
        calls.append(int(state.step))
        shift = np.asarray(state.ema_params["w"]) + np.asarray(arrays["x"]).mean(0)
        return state.replace(memory={"mean": np.asarray(state.memory["mean"]) + shift, "count": state.memory["count"]})

    return between


def trained(tmp_path, stop=None, **changes):
    calls = []
    job = make_job(between=noted(calls), **({"rounds": (0, 7, 11, 22)} | changes))
    return train(job, tmp_path, stop or Never()), calls


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("straight"))[0]


def assert_equal(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), one, other)


@pytest.mark.parametrize(
    "changes", [{}, dict(steps_per_call=64, checkpoint_every=64), dict(steps_per_call=3, checkpoint_every=7)]
)
def test_rounds_come_before_exactly_their_steps_however_calls_are_cut(changes, straight, tmp_path):
    state, calls = trained(tmp_path, **changes)
    assert calls == [0, 7, 11, 22]
    assert int(state.memory["count"]) == STEPS
    assert_equal(state, straight)


@pytest.mark.parametrize(("rounds", "expected"), [((), []), ((5, 5), [5]), ((20, 3), [3, 20]), ((23, 40), [])])
def test_rounds_in_any_order_and_beyond_the_end(rounds, expected, tmp_path):
    assert trained(tmp_path, rounds=rounds)[1] == expected


def test_a_round_changes_what_follows(straight, tmp_path):
    other = trained(tmp_path, rounds=(0, 7, 12, 22))[0]
    assert np.abs(np.asarray(other.params["w"]) - np.asarray(straight.params["w"])).max() > 1e-5


@pytest.mark.parametrize("calls", range(1, 8))
def test_stopped_before_or_after_a_round_and_resumed_it_is_the_same(calls, straight, tmp_path):
    """Calls end at steps 5, 7, 8, 11, 16, 21 and 22: at a round, one step after it, or away from it."""
    with pytest.raises(Interrupted, match=f"step {(5, 7, 8, 11, 16, 21, 22)[calls - 1]} "):
        trained(tmp_path, At(calls))
    state, resumed = trained(tmp_path)
    assert_equal(state, straight)
    assert resumed == [step for step in (7, 11, 22) if step >= (5, 7, 8, 11, 16, 21, 22)[calls - 1]]
