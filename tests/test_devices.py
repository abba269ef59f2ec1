"""Eight simulated devices, and two processes as one: the losses of one device, checkpoints that move between."""

import json
import shutil
import socket

import numpy as np
import pytest

from scoressl_jax.training.metrics import read_metrics

# A few steps, each logged: the update compiles anew for every kind of machine, and that takes nearly all the time.
FLAGS = (
    "--config=tests/tiny.py",
    "--config.score.steps=6",
    "--config.classifier.steps=6",
    "--config.training.steps_per_call=1",
    "--config.training.checkpoint_every=3",
)
ONE = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "NPROC": "16"}
# Both stages and no more, in one process for speed.
BOTH = (
    "-c",
    """
import sys
from scoressl_jax.main import main
for mode in ("train_score", "train_classifier"):
    code = main([*sys.argv[1:], f"--mode={mode}"])
    if code:
        sys.exit(code)
""",
)


def losses(workdir, stage):
    return {row["step"]: row["loss"] for row in read_metrics(workdir) if row["stage"] == stage}


def assert_same_losses(one, other, stages=("score", "classifier")):
    for stage in stages:
        expected, found = losses(one, stage), losses(other, stage)
        assert list(found) == list(expected) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5, err_msg=stage)


@pytest.fixture(scope="module")
def trained(program, tmp_path_factory):
    """Directories of both stages trained on one device and on eight."""
    workdirs = {}
    for devices, env in ((1, ONE), (8, EIGHT)):
        workdirs[devices] = tmp_path_factory.mktemp("devices") / "run"
        outcome = program.run(workdirs[devices], *FLAGS, call=BOTH, **env)
        assert (outcome.code, outcome.err) == (0, "")
    return workdirs


def test_eight_devices_have_the_losses_of_one(trained):
    assert_same_losses(trained[1], trained[8])


@pytest.mark.parametrize(
    ("wrote", "env"), [pytest.param(8, ONE, id="8 to 1"), pytest.param(1, EIGHT, id="1 to 8", marks=pytest.mark.slow)]
)
def test_a_checkpoint_goes_on_with_other_devices(wrote, env, trained, program, tmp_path):
    workdir = shutil.copytree(trained[wrote], tmp_path / "run")
    for stage in ("score", "classifier"):
        shutil.rmtree(workdir / "checkpoints" / stage / "6")
    outcome = program.run(workdir, *FLAGS, call=BOTH, **env)
    assert (outcome.code, outcome.err) == (0, "")
    assert_same_losses(trained[1], workdir)


def test_batches_that_eight_devices_cannot_share(program, tmp_path):
    outcome = program.run(tmp_path / "run", *FLAGS, "--config.score.batch_size=12", **EIGHT)
    assert outcome.code == 2
    assert "config.score.batch_size is 12" in outcome.complaint
    assert "8 devices" in outcome.complaint
    assert not (tmp_path / "run").exists()


@pytest.fixture
def two_processes(program, tmp_path):
    """flags -> (workdir, outcome of each) of two processes as one; each has its own output, workdir is shared."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2", "NPROC": "16"}
    workdir, processes = tmp_path / "run", []
    workdir.mkdir()

    def run(*flags):
        for i in range(2):
            link = tmp_path / f"process{i}"
            link.symlink_to(workdir)
            processes.append(program.start(link, *flags, JAX_PROCESS_ID=str(i), **group))
        outcomes = [program.finish(process) for process in processes]
        assert [outcome.code for outcome in outcomes] == [0, 0], outcomes[0].err + outcomes[1].err
        return workdir, outcomes

    yield run
    for process in processes:
        process.kill()


def test_two_processes_train_as_one(trained, two_processes):
    """The first one alone writes metrics and results."""
    workdir, outcomes = two_processes(*FLAGS, "--mode=train_score")
    assert_same_losses(trained[1], workdir, ("score",))
    assert "score: 100%" in outcomes[0].out
    assert "score" not in outcomes[1].out
    assert len(list((workdir / "logs" / "score").iterdir())) == 1


@pytest.mark.slow
def test_two_processes_run_as_one(trained, two_processes, program):
    """Every stage, and samples that one process draws too."""
    flags = (*FLAGS, "--config.evaluation.judge_steps=2", "--config.evaluation.cas_steps=0")
    workdir, _ = two_processes(*flags)
    assert_same_losses(trained[1], workdir)
    results = json.loads((workdir / "results.json").read_text())
    assert results["classifier"]["steps"] == 6
    assert {"class_agreement", "judge_accuracy"} <= set(results["samples"])
    assert {"fid@20", "precision"} <= set(results["generation"])
    for stage in ("score", "classifier"):
        assert len(list((workdir / "logs" / stage).iterdir())) == 1
    assert (workdir / "report.html").exists()

    with np.load(workdir / "samples" / "samples.npz") as file:
        images = file["images"]
    (workdir / "samples" / "samples.npz").unlink()
    outcome = program.run(workdir, *flags, "--mode=sample", **ONE)
    assert (outcome.code, outcome.err) == (0, "")
    with np.load(workdir / "samples" / "samples.npz") as file:
        np.testing.assert_allclose(images.astype(int), file["images"].astype(int), atol=1)
