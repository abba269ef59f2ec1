"""The training loop on a straight line: resuming, rolling back, stopping, and that it compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.devices import device_mesh
from scoressl_jax.errors import Diverged, Interrupted
from scoressl_jax.training.loop import Job, train
from scoressl_jax.training.metrics import read_metrics
from scoressl_jax.training.state import init_state, make_optimizer
from scoressl_jax.training.step import make_multi_update, make_update

STEPS = 60
OPTIMIZER = make_optimizer(
    learning_rate=0.05, weight_decay=0.0, warmup=5, clip=1.0, schedule="constant", steps=STEPS
)


class Never:
    def requested(self):
        return False


class After:
    """A stop signal that arrives in the n-th call."""

    def __init__(self, calls):
        self.calls = calls

    def requested(self):
        self.calls -= 1
        return self.calls <= 0


def loss_fn(params, frozen, batch, key):
    x, y = batch
    noise = 0.1 * jax.random.normal(key, y.shape)
    return jnp.mean((x @ params["w"] - y - noise) ** 2), {"noise": noise.mean()}


def make_batch(arrays, indices, key):
    return arrays["x"][indices["x"]], arrays["y"][indices["x"]]


def poisoned(update, at, attempts):
    """The update, its loss and parameters not finite at step `at` of the first `attempts` attempts."""

    def wrapped(state, *inputs):
        new, logs = update(state, *inputs)
        bad = jnp.where((state.step == at - 1) & (state.attempt < attempts), jnp.nan, 0.0)
        return new.replace(params=jax.tree.map(lambda p: p + bad, new.params)), logs | {"loss": logs["loss"] + bad}

    return wrapped


def make_job(update=None, **changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 3)).astype(np.float32)
    fields = dict(
        name="score",
        update=update or make_update(loss_fn, make_batch, OPTIMIZER, 0.9),
        init_state=lambda: init_state({"w": jnp.zeros(3)}, OPTIMIZER),
        arrays={"x": x, "y": x @ np.array([1.0, -2.0, 0.5], np.float32)},
        frozen=(), pools={"x": np.arange(32)}, batch_sizes={"x": 8}, steps=STEPS, seed=0,
        steps_per_call=10, checkpoint_every=20, max_rollbacks=0, remedy="lower the learning rate",
    )  # fmt: skip
    return Job(**(fields | changes))


def assert_equal(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), one, other)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """(state, rows) of a run without any trouble."""
    workdir = tmp_path_factory.mktemp("straight")
    return train(make_job(), workdir, Never()), read_metrics(workdir)


def steps_of(workdir):
    return [row["step"] for row in read_metrics(workdir)]


def test_it_learns(straight):
    state, rows = straight
    assert (int(state.step), int(state.attempt)) == (STEPS, 0)
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert rows[0].keys() == {"stage", "step", "time", "loss", "noise", "grad_norm", "param_norm"}


@pytest.mark.parametrize("calls", [1, 3, 4])
def test_stopped_and_resumed_is_the_same(calls, straight, tmp_path):
    with pytest.raises(Interrupted, match=f"step {10 * calls} "):
        train(make_job(), tmp_path, After(calls))
    assert (tmp_path / "checkpoints" / "score" / str(10 * calls)).is_dir()
    assert_equal(train(make_job(), tmp_path, Never()), straight[0])
    drop_time = lambda rows: [row | {"time": 0} for row in rows]  # noqa: E731
    assert drop_time(read_metrics(tmp_path)) == drop_time(straight[1])
    times = [row["time"] for row in read_metrics(tmp_path)]
    assert times == sorted(times), "time goes on where it stopped"


def test_a_stop_at_the_last_step_is_no_interruption(straight, tmp_path):
    assert_equal(train(make_job(), tmp_path, After(6)), straight[0])


@pytest.mark.parametrize("changes", [{"steps_per_call": 7}, {"steps_per_call": 64}, {"checkpoint_every": 13}])
def test_lengths_of_calls_and_checkpoints_change_nothing(changes, straight, tmp_path):
    assert_equal(train(make_job(**changes), tmp_path, Never()), straight[0])


def test_a_finished_stage_is_left_alone(tmp_path, straight, snapshot):
    train(make_job(), tmp_path, Never())
    before = snapshot(tmp_path)
    assert_equal(train(make_job(), tmp_path, After(1)), straight[0])
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("steps", [20, 37])
def test_more_steps_go_on_from_the_last_checkpoint(steps, straight, tmp_path):
    train(make_job(steps=steps), tmp_path, Never())
    assert_equal(train(make_job(), tmp_path, Never()), straight[0])
    assert steps_of(tmp_path)[-1] == STEPS
    assert steps_of(tmp_path) == sorted(set(steps_of(tmp_path)))


def test_divergence_names_step_and_terms_and_keeps_the_last_good_checkpoint(straight, tmp_path):
    update = poisoned(make_job().update, at=34, attempts=1)
    with pytest.raises(Diverged, match=r"stage score .* step 34: not finite: loss; .* step 20") as end:
        train(make_job(update), tmp_path, Never())
    assert str(end.value).endswith("is kept; lower the learning rate, in a new workdir")
    assert steps_of(tmp_path) == [10, 20, 30], "the call with the fault is not logged"
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "score").iterdir()) == ["0", "20"]
    assert_equal(train(make_job(), tmp_path, Never()), straight[0])


def test_a_rollback_takes_other_noise_and_goes_on(straight, tmp_path, capfd):
    update = poisoned(make_job().update, at=34, attempts=1)
    state = train(make_job(update, max_rollbacks=1), tmp_path, Never())
    assert (int(state.step), int(state.attempt)) == (STEPS, 1)
    assert np.isfinite(state.params["w"]).all()
    assert capfd.readouterr().out.count("rolled back to step 20") == 1
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60], "no step twice"
    assert rows[1]["noise"] == straight[1][1]["noise"]
    assert rows[2]["noise"] != straight[1][2]["noise"]


def test_rollbacks_are_counted(tmp_path, capfd):
    update = poisoned(make_job().update, at=34, attempts=3)
    with pytest.raises(Diverged):
        train(make_job(update, max_rollbacks=2), tmp_path, Never())
    assert capfd.readouterr().out.count("rolled back to step 20") == 2


def test_divergence_before_the_first_checkpoint_goes_back_to_the_start(tmp_path):
    update = poisoned(make_job().update, at=3, attempts=1)
    state = train(make_job(update, max_rollbacks=1), tmp_path, Never())
    assert (int(state.step), int(state.attempt)) == (STEPS, 1)


def test_calls_of_every_length_share_one_program():
    """The second call may compile once more, for buffers where the first one had arrays from outside; no later one."""
    job, key = make_job(), jax.random.key(0)
    run = make_multi_update(job.update, device_mesh())
    state, compiled = job.init_state(), []
    for count in (10, 10, 3, 7, 1, 10):
        state, _ = run(state, job.arrays, (), job.indices(int(state.step), 0, count), count, key)
        compiled.append(run._cache_size())
    assert compiled[-1] == compiled[1] <= 2
    assert int(state.step) == 41


def test_a_whole_training_compiles_its_update_once(tmp_path):
    traces = []

    def counted(state, *inputs):
        traces.append(1)
        return plain(state, *inputs)

    plain = make_job().update
    train(make_job(counted, checkpoint_every=13), tmp_path, Never())
    first = len(traces)
    train(make_job(counted, checkpoint_every=13), tmp_path / "other", Never())
    assert len(traces) == 2 * first
    assert first <= 3, "once for the shapes, once for the program, at most once more for donated buffers"


def test_a_measure_is_logged_with_the_average_of_each_call(tmp_path):
    measure = lambda params, frozen: {"error": jnp.abs(params["w"] - 1).sum() + frozen}  # noqa: E731
    job = make_job(measure=measure, frozen=jnp.float32(2))
    state = train(job, tmp_path, Never())
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 60]
    assert rows[-1]["error"] == pytest.approx(float(np.abs(state.ema_params["w"] - 1).sum() + 2), rel=1e-5)
    assert len({row["error"] for row in rows}) == 6
