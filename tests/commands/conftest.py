"""What the tests of commands share: scoressl in this process, and a run of the former version."""

import tarfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.__main__ import main
from scoressl_jax.training.loop import Job

OLD_RUNS = Path(__file__).resolve().parents[1] / "experiment" / "old_runs"


@pytest.fixture
def scoressl(capfd, compiled, monkeypatch):
    """(arguments) -> (exit code, stdout, lines on stderr) of the command line, in this process."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", compiled)
    for name in ("XLA_FLAGS", "NPROC"):  # set where devices are made of cores
        monkeypatch.setenv(name, "")

    def call(*argv):
        capfd.readouterr()
        code = main([str(argument) for argument in argv])
        said = capfd.readouterr()
        return code, said.out, said.err.strip().splitlines()

    return call


@pytest.fixture
def refused(scoressl):
    """(arguments) -> the one line that refuses them, with exit code 2."""

    def call(*argv):
        code, _, lines = scoressl(*argv)
        assert code == 2
        (line,) = lines
        assert line.startswith("scoressl_jax: ")
        return line

    return call


@pytest.fixture
def old_run(tmp_path):
    """A finished run on the digits, made by version 0.1."""
    with tarfile.open(OLD_RUNS / "finished.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "finished"


@pytest.fixture
def product_job():
    """(steps per call) -> a Job whose step multiplies 16 rows of 256 with a square of weights."""

    def update(weights, arrays, frozen, indices, key):
        loss = (arrays["x"][indices["x"]] @ weights).sum()
        return weights + loss, {"loss": loss}

    def make(steps_per_call):
        return Job(
            name="product",
            update=update,
            init_state=lambda: jnp.zeros((256, 256)),
            arrays={"x": np.ones((32, 256), np.float32)},
            frozen=(),
            pools={"x": np.arange(32)},
            batch_sizes={"x": 16},
            steps=100,
            seed=0,
            steps_per_call=steps_per_call,
            checkpoint_every=100,
            max_rollbacks=0,
            remedy="",
        )

    return make
