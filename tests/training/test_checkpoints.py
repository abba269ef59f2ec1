"""Checkpoints: which are kept, what comes back, and what becomes of damaged ones."""

import errno
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.training.checkpoints import BESIDE, Checkpoints, system_error
from scoressl_jax.training.state import init_state, make_optimizer

OPTIMIZER = make_optimizer(
    learning_rate=1e-3, weight_decay=0.0, warmup=0, clip=1.0, schedule="constant", steps=100
)


def make_state(step, size=64):
    state = init_state({"w": jnp.full((size,), float(step)), "b": {"c": jnp.ones((2, 3))}}, OPTIMIZER)
    return state.replace(step=jnp.int32(step), attempt=jnp.int32(1))


def write(directory, **losses):
    """Checkpoints of the steps that the names end in, in order."""
    checkpoints = Checkpoints(directory)
    for name, loss in losses.items():
        checkpoints.save(make_state(int(name[1:])), loss)
    checkpoints.close()


def kept(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def restore(directory, template=None):
    checkpoints = Checkpoints(directory)
    state = checkpoints.restore(template or make_state(0))
    checkpoints.close()
    return state


def data_file(directory, step):
    """The largest file of a checkpoint."""
    return max((p for p in (directory / str(step)).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def test_nothing_there(tmp_path):
    checkpoints = Checkpoints(tmp_path / "score")
    assert checkpoints.latest_step() is None
    assert checkpoints.restore(make_state(0)) is None
    checkpoints.close()


def test_everything_comes_back(tmp_path):
    write(tmp_path, s7=1.0)
    state, saved = restore(tmp_path), make_state(7)
    assert jax.tree.structure(state) == jax.tree.structure(saved)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), state, saved)


def test_two_newest_and_the_best_are_kept(tmp_path):
    write(tmp_path, s0=np.inf, s10=3.0, s20=1.0, s30=2.0, s40=5.0, s50=4.0)
    assert kept(tmp_path) == [20, 40, 50]


def test_the_best_is_remembered_over_a_restart(tmp_path):
    write(tmp_path, s10=3.0, s20=1.0, s30=2.0)
    write(tmp_path, s40=5.0, s50=4.0)
    assert kept(tmp_path) == [20, 40, 50]
    write(tmp_path, s60=0.5, s70=2.0, s80=3.0)
    assert kept(tmp_path) == [60, 70, 80]


def test_saving_a_step_twice_is_harmless(tmp_path):
    write(tmp_path, s10=3.0)
    write(tmp_path, s10=1.0, s20=2.0)
    assert kept(tmp_path) == [10, 20]


def test_the_state_may_be_donated_while_it_is_written(tmp_path):
    """A state that is overwritten as soon as save returns is still saved as it was."""
    checkpoints, state = Checkpoints(tmp_path), make_state(3, size=1_000_000)
    bump = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    checkpoints.save(state, 1.0)
    for _ in range(3):
        state = bump(state)
    jax.block_until_ready(state)
    checkpoints.close()
    loaded = restore(tmp_path, make_state(0, size=1_000_000))
    np.testing.assert_array_equal(loaded.params["w"], np.full(1_000_000, 3.0))


def empty_step(directory):
    (directory / "40").mkdir()


DAMAGES = {
    "truncated data": (30, lambda d: truncate(data_file(d, 30))),
    "deleted data": (30, lambda d: data_file(d, 30).unlink()),
    "deleted tree": (30, lambda d: (d / "30" / "state" / "_METADATA").unlink()),
    "empty step": (40, empty_step),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_reported_and_set_aside(damage, tmp_path, capfd):
    directory = tmp_path / "score"
    write(directory, s10=3.0, s20=2.0, s30=1.0)
    step, spoil = DAMAGES[damage]
    spoil(directory)
    checkpoints = Checkpoints(directory)
    state = checkpoints.restore(make_state(0))
    good = 30 if step == 40 else 20
    assert int(state.step) == good
    assert float(state.params["w"][0]) == good
    assert f"score/{step} cannot be read" in capfd.readouterr().err
    assert (tmp_path / f"score-{step}.damaged").is_dir()
    assert checkpoints.latest_step() == good
    checkpoints.save(make_state(step), 0.5)
    checkpoints.close()
    assert int(restore(directory).step) == step


def test_all_damaged_is_the_users_to_decide(tmp_path, capfd):
    write(tmp_path / "score", s10=3.0, s20=2.0)
    for step in (10, 20):
        truncate(data_file(tmp_path / "score", step))
    with pytest.raises(UserError, match=r"no checkpoint in .*score can be read \(steps \[20, 10\]\)"):
        restore(tmp_path / "score")
    assert kept(tmp_path / "score") == [10, 20]
    assert not list(tmp_path.glob("*.damaged"))


def test_a_state_of_another_shape_is_refused(tmp_path, capfd):
    write(tmp_path, s10=3.0)
    with pytest.raises(UserError):
        restore(tmp_path, make_state(0, size=63))
    assert kept(tmp_path) == [10]


def test_a_write_that_was_killed_does_not_count(tmp_path):
    write(tmp_path, s10=3.0)
    (tmp_path / "20.orbax-checkpoint-tmp").mkdir()
    assert int(restore(tmp_path).step) == 10


def test_a_disk_without_room_is_known_before_anything_is_written(tmp_path, monkeypatch):
    write(tmp_path / "score", s7=1.0)
    needed = BESIDE + sum(leaf.nbytes for leaf in jax.tree.leaves(make_state(8)))
    for free, steps in ((needed - 1, [7]), (needed, [7, 8])):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        checkpoints = Checkpoints(tmp_path / "score")
        if free < needed:
            with pytest.raises(OSError, match="No space left on device") as error:
                checkpoints.save(make_state(8), 1.0)
            assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "score"))
        else:
            checkpoints.save(make_state(8), 1.0)
        checkpoints.close()
        assert kept(tmp_path / "score") == steps


def test_what_the_system_says_is_found_however_deep_it_is():
    def chained(kind):
        try:
            try:
                raise OSError(errno.EDQUOT, "Disk quota exceeded")
            except OSError as error:
                raise RuntimeError("cannot save") from (error if kind == "cause" else None)
        except RuntimeError as error:
            return error

    assert system_error(chained("cause")) == errno.EDQUOT
    assert system_error(chained("context")) == errno.EDQUOT
    assert system_error(ValueError("Failed writing: No space left on device [os_error_code='28']")) == errno.ENOSPC
    assert system_error(ValueError("no such thing")) == 0


@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("save", lambda checkpoints: checkpoints.save(make_state(8), 1.0)),
        ("wait_until_finished", Checkpoints.wait),
        ("wait_until_finished", Checkpoints.close),
    ],
)
def test_what_the_system_refuses_while_saving_names_the_folder(method, act, tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "score")

    def fail(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing ... [os_error_code='27'] ...")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints._manager, method, fail)
        with pytest.raises(OSError, match="File too large") as error:
            act(checkpoints)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(tmp_path / "score"))
    checkpoints.close()


def test_another_fault_of_a_library_stays_what_it_is(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "score")

    def fail(*_, **__):
        raise ValueError("a fault of its own")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints._manager, "save", fail)
        with pytest.raises(ValueError, match="a fault of its own"):
            checkpoints.save(make_state(8), 1.0)
    checkpoints.close()


def test_a_folder_in_which_checkpoints_would_be_lost_is_refused_before_training(tmp_path):
    """orbax writes them there, but does not find their parts again."""
    checkpoints = Checkpoints(tmp_path / "run [1]" / "score")
    with pytest.raises(UserError, match=r"cannot be read back: rename"):
        checkpoints.save(make_state(0), np.inf)
    checkpoints.close()
