"""Kills, signals, damaged checkpoints and numbers that are not finite, done to the program as a process.

However a run is cut up, its end is that of the uninterrupted run, bit for bit.
"""

import re
import shutil
import signal

import numpy as np
import pytest

from scoressl_jax.main import main
from scoressl_jax.training.metrics import read_metrics

EVERY_STEP = list(range(10, 401, 10))


def steps_of(workdir, stage):
    return [row["step"] for row in read_metrics(workdir) if row["stage"] == stage]


def checkpoint_steps(workdir, stage):
    folder = workdir / "checkpoints" / stage
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.exists() else []


def rows_kept(workdir, stage):
    """Rows that a resumed run must neither repeat nor change: those up to the newest checkpoint."""
    newest = max(checkpoint_steps(workdir, stage), default=0)
    return [row for row in read_metrics(workdir) if row["stage"] == stage and row["step"] <= newest]


def truncate_data(folder):
    """Halve every file of array data; orbax may leave one or another that nothing refers to any more."""
    for path in folder.rglob("d/*"):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)


@pytest.mark.slow
def test_killed_three_times(program, first_run, tiny, tmp_path, assert_same_run):
    """In the score stage, in the classifier stage, and while samples are drawn."""
    workdir, kept = tmp_path / "run", {"score": [], "classifier": []}
    for stage, step, words in (("score", 120, ""), ("classifier", 120, ""), (None, 0, "sample:")):
        outcome = program.stop_at(signal.SIGKILL, workdir, *tiny, stage=stage, step=step, words=words)
        assert outcome.code == -signal.SIGKILL
        for name, rows in kept.items():
            assert [row for row in read_metrics(workdir) if row["stage"] == name][: len(rows)] == rows
            kept[name] = rows_kept(workdir, name)
        if step == 120:
            assert 50 <= kept[stage][-1]["step"] < 400, "killed in the midst of the stage"
    assert not (workdir / "samples" / "samples.npz").exists()
    assert "score: done, " in outcome.out
    outcome = program.run(workdir, *tiny)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert steps_of(workdir, "score") == steps_of(workdir, "classifier") == EVERY_STEP
    assert_same_run(first_run[0], workdir)


def test_signals_then_a_damaged_checkpoint(program, first_run, tiny, tmp_path, assert_same_run):
    """SIGTERM in the score stage, SIGINT in the classifier stage, and the checkpoint that it left is spoilt."""
    workdir = tmp_path / "run"
    for number, stage in ((signal.SIGTERM, "score"), (signal.SIGINT, "classifier")):
        outcome = program.stop_at(number, workdir, *tiny, stage=stage, step=110)
        assert outcome.code == 75, outcome.err
        assert outcome.seconds < 30
        found = re.search(rf"stopped at step (\d+) of stage {stage}, checkpoint written", outcome.complaint)
        step = int(found[1])
        assert 110 <= step < 400
        assert steps_of(workdir, stage)[-1] == checkpoint_steps(workdir, stage)[-1] == step
    folder = workdir / "checkpoints" / "classifier"
    truncate_data(folder / str(step))
    (folder / "395").mkdir()
    outcome = program.run(workdir, *tiny)
    assert outcome.code == 0, outcome.err
    assert f"classifier/{step} cannot be read" in outcome.err
    assert "classifier/395 cannot be read" in outcome.err
    assert (workdir / "checkpoints" / f"classifier-{step}.damaged").is_dir()
    assert steps_of(workdir, "classifier") == EVERY_STEP
    assert_same_run(first_run[0], workdir)


def test_signals_of_terminals_and_clusters(program, first_run, tiny, tmp_path, assert_same_run):
    """SIGUSR1 while training, SIGHUP while samples are drawn, SIGUSR1 while the classifier is measured."""
    workdir = tmp_path / "run"
    at = (
        (signal.SIGUSR1, dict(stage="score", step=110), "stopped at step"),
        (signal.SIGHUP, dict(words="stage 3 of 5: samples"), "stopped"),
        (signal.SIGUSR1, dict(words="evaluating the classifier"), "stopped by SIGUSR1; finished stages are kept"),
    )
    for number, where, words in at:
        outcome = program.stop_at(number, workdir, *tiny, **where)
        assert outcome.code == 75, outcome.err
        assert words in outcome.complaint
        assert not (workdir / "evaluation.npz").exists()
    outcome = program.run(workdir, *tiny)
    assert (outcome.code, outcome.err) == (0, "")
    assert_same_run(first_run[0], workdir)


def test_a_damaged_checkpoint_of_a_finished_stage(program, first_run, finished, tiny, assert_same_run):
    """It is noticed when its parameters are wanted, and trained anew from the one before it."""
    truncate_data(finished / "checkpoints" / "classifier" / "400")
    shutil.rmtree(finished / "samples")
    outcome = program.run(finished, *tiny)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("cannot be read") == 1
    assert "classifier/400 cannot be read" in outcome.err
    assert "score: done" in outcome.out
    assert (finished / "checkpoints" / "classifier-400.damaged").is_dir()
    assert checkpoint_steps(finished, "classifier")[-2:] == [350, 400]
    assert_same_run(first_run[0], finished)


def test_all_checkpoints_damaged(finished, tiny, call_main, snapshot):
    steps = checkpoint_steps(finished, "score")
    for step in steps:
        truncate_data(finished / "checkpoints" / "score" / str(step) / "state")
    shutil.rmtree(finished / "samples")
    before = snapshot(finished / "checkpoints")
    code, line = call_main(*tiny, f"--workdir={finished}", "--mode=sample", lines=len(steps) + 1)
    assert code == 2
    assert "no checkpoint in" in line
    assert "checkpoints/score" in line
    assert snapshot(finished / "checkpoints") == before


@pytest.mark.parametrize("gone", ["samples", "evaluation.npz"])
def test_what_was_deleted_is_made_and_measured_again(gone, program, first_run, finished, assert_same_run):
    path = finished / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = program.run(finished)
    assert (outcome.code, outcome.err) == (0, "")
    assert "score: done" in outcome.out
    assert "classifier: done" in outcome.out
    assert_same_run(first_run[0], finished)


def test_samples_of_a_network_that_is_trained_on_are_all_drawn_anew(at_root, tmp_path):
    """Though more of them are asked for at the same time, of which the first would else be kept."""
    drawn = []
    for steps, count in ((20, 16), (40, 24)):
        sizes = (f"--config.score.steps={steps}", f"--config.sampling.count={count}")
        flags = ("--config=tests/tiny.py", "--config.score.schedule=constant", "--config.sampling.scale=0.0", *sizes)
        for mode in ("train_score", "sample"):
            assert main([*flags, f"--workdir={tmp_path}", f"--mode={mode}"]) == 0
        drawn.append(np.load(tmp_path / "samples" / "samples.npz")["images"])
    assert len(drawn[1]) == 24
    assert all((one != other).any() for one, other in zip(*drawn, strict=False))


def test_a_learning_rate_that_explodes(program, tiny, tmp_path, restored):
    workdir = tmp_path / "run"
    flags = ("--config.score.learning_rate=1e30", "--config.training.max_rollbacks=2", "--mode=train_score")
    outcome = program.run(workdir, *tiny, *flags)
    assert outcome.code == 3, outcome.err
    assert outcome.out.count("rolled back to step 0") == 2
    said = r"stage score diverged at step (\d+): not finite: ([a-z_, ]+); .*step 0, is kept"
    found = re.search(said, outcome.complaint)
    assert 1 <= int(found[1]) <= 10
    assert "param_norm" in found[2]
    assert "config.score.learning_rate" in outcome.complaint
    assert steps_of(workdir, "score") == []
    assert checkpoint_steps(workdir, "score") == [0]
    assert all(np.isfinite(array).all() for array in restored(workdir, "score", 0).values())
