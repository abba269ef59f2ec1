"""Benchmarks of training: what they time, from any directory."""

import importlib.util
import itertools
import subprocess
from types import SimpleNamespace

import pytest

from scoressl_jax.commands import benchmark_moons, benchmark_train
from scoressl_jax.commands.reproduced import step_flops


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_training_is_timed_for_three_losses(scoressl, monkeypatch, elsewhere):
    seen = []
    monkeypatch.setattr(benchmark_train, "time_step", lambda job: (seen.append(job), (0.004, 0.003))[1])
    code, out, errors = scoressl("benchmark", "train")
    assert (code, errors) == (0, [])
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["DSM", "4.0", "3.0", "0.75"],
        ["CE", "4.0", "3.0", "0.75"],
        ["CE+DLSM", "4.0", "3.0", "0.75"],
    ]
    assert [job.name for job in seen] == ["score", "classifier", "classifier"]
    assert {tuple(job.batch_sizes.items()) for job in seen} == {(("x", 64),)}
    assert {job.steps_per_call for job in seen} == {10}
    # Operations of a step as XLA counts them, in millions: those of version 0.1.
    assert [step_flops(job) / 1e6 for job in seen] == pytest.approx([715, 225, 689], rel=0.02)


def test_times_are_of_one_step_alone_and_in_the_loop(monkeypatch, product_job):
    ticks = itertools.count()
    # A clock of its own: every look at it is a second later.
    monkeypatch.setattr(benchmark_train, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert benchmark_train.time_step(product_job(10)) == (0.1, 0.1)
    assert next(ticks) == 4 * (benchmark_train.ROUNDS + 1)


def test_the_moons_are_timed_from_any_directory(scoressl, monkeypatch, elsewhere):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no PyTorch, whatever is installed
    jobs = []
    monkeypatch.setattr(benchmark_moons, "make_runner", lambda job: jobs.append(job) or (lambda: 0.5))
    code, out, errors = scoressl("benchmark", "moons")
    assert (code, errors) == (0, [])
    assert [line.split() for line in out.splitlines()[2:4]] == [["DSM", "100.0"], ["DLSM+CE", "100.0"]]  # 50 in 0.5 s
    assert "PyTorch is not installed" in out
    assert [job.name for job in jobs] == ["score", "classifier_dlsm_ce"]
    assert {size for job in jobs for size in job.batch_sizes.values()} == {4000}  # the faithful preset's


def test_a_runner_goes_on_from_where_it_was(monkeypatch, product_job):
    seen, make = [], benchmark_moons.make_multi_update

    def one_higher(update, mesh):
        run = make(update, mesh)

        def call(state, arrays, frozen, indices, count, key):
            seen.append((float(state[0, 0]), count, indices["x"].shape))
            return run(state, arrays, frozen, indices, count, key)[0] + 1, {}

        return call

    monkeypatch.setattr(benchmark_moons, "make_multi_update", one_higher)
    steps = benchmark_moons.make_runner(product_job(50))
    assert all(0 < seconds < 60 for seconds in (steps(), steps()))
    assert seen == [(0.0, 50, (50, 16)), (1.0, 50, (50, 16))]


def test_the_loop_of_pytorch_is_found(monkeypatch):
    started, find = [], importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: find("json" if name == "torch" else name))
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command) or Process())
    with benchmark_moons.torch_loop() as seconds:
        assert seconds is not None
    python, flag, module = started[0]
    assert flag == "-m"
    assert find(module).origin.endswith("torch_loop.py")


class Process:
    def kill(self):
        pass

    def wait(self):
        pass
