"""What the process tests share: starting the program, stopping it at a step, one finished run, reading states back."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from scoressl_jax.training.metrics import read_metrics

ROOT = Path(__file__).resolve().parent.parent
STEPS = 400  # long enough to be hit by a signal: a step takes a millisecond or two
TINY = (
    "--config=tests/tiny.py",
    f"--config.score.steps={STEPS}",
    f"--config.classifier.steps={STEPS}",
    "--config.training.checkpoint_every=50",
)
QUICK_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
MODULE = ("-m", "scoressl_jax.main")
TIMEOUT = 300


@dataclass
class Outcome:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def complaint(self):
        """The one line on stderr."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


class Program:
    """`python -m scoressl_jax.main` as a process; a hang is killed and fails the test."""

    def __init__(self, cache):
        self.cache = cache

    def start(self, workdir, *flags, call=MODULE, **env):
        """A running process; its output goes to files beside workdir."""
        workdir = Path(workdir)
        env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": self.cache, **env}
        env["XLA_FLAGS"] = f"{QUICK_COMPILE} {env.get('XLA_FLAGS', '')}"
        with Path(f"{workdir}.out").open("w") as out, Path(f"{workdir}.err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, *call, f"--workdir={workdir}", *flags],
                cwd=ROOT, stdout=out, stderr=err, env=env,
            )  # fmt: skip
        process.workdir, process.started = workdir, time.perf_counter()
        return process

    def finish(self, process, timeout=TIMEOUT):
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
            process.wait()
        out, err = (Path(f"{process.workdir}.{name}").read_text() for name in ("out", "err"))
        return Outcome(code, out, err, time.perf_counter() - process.started)

    def run(self, workdir, *flags, **options):
        return self.finish(self.start(workdir, *flags, **options))

    def stop_at(self, number, workdir, *flags, stage=None, step=0, words=""):
        """Start, send signal `number` once metrics.jsonl has reached `step` of `stage` and stdout holds `words`."""
        process = self.start(workdir, *flags)
        try:
            while not (reached(workdir, stage, step) and words in Path(f"{workdir}.out").read_text()):
                assert process.poll() is None, "the program ended before it could be stopped"
                assert time.perf_counter() - process.started < TIMEOUT, "the program never came to where it is stopped"
                time.sleep(0.005)
            process.send_signal(number)
            sent = time.perf_counter()
            outcome = self.finish(process)
        finally:
            process.kill()
        outcome.seconds = time.perf_counter() - sent
        return outcome


def reached(workdir, stage, step):
    rows = read_metrics(workdir) if stage else ()
    return not stage or any(row["stage"] == stage and row["step"] >= step for row in rows)


LONGEST = ("test_resume", "test_devices", "test_experiment_fields", "test_moons_study", "test_whole_run",
           "test_adopt", "test_stages", "test_old_runs", "test_samplers", "test_main", "test_reproduce",
           "test_class_prior")


def pytest_collection_modifyitems(items):
    """The longest files first, so that the test processes end together."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """Directory of compiled programs, which all test processes and what they start share: the first one compiles."""
    parallel = "PYTEST_XDIST_WORKER" in os.environ  # each worker has a folder of its own in the session's
    base = tmp_path_factory.getbasetemp().parent if parallel else tmp_path_factory.getbasetemp()
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(base / "xla")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return cache


@pytest.fixture(scope="session")
def program(compiled):
    return Program(compiled)


@pytest.fixture(scope="session")
def tiny():
    """Flags of the run that `finished` holds; tests that use the same ones share its compiled programs."""
    return TINY


@pytest.fixture(scope="session")
def first_run(program, tmp_path_factory):
    """(directory, outcome) of a whole run from nothing, never written to again."""
    workdir = tmp_path_factory.mktemp("first") / "run"
    outcome = program.run(workdir, *TINY)
    assert outcome.code == 0, outcome.err
    return workdir, outcome


@pytest.fixture
def finished(first_run, tmp_path):
    """A copy of the finished run, the test's own."""
    return Path(shutil.copytree(first_run[0], tmp_path / "run"))


@pytest.fixture(scope="session")
def restored():
    """(workdir, stage, step) -> every array of a checkpoint, read by orbax alone."""

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])  # whatever the devices that wrote it

    def read(workdir, stage, step):
        folder = Path(workdir).absolute() / "checkpoints" / stage / str(step) / "state"
        reader = ocp.StandardCheckpointer()
        described = reader.metadata(folder).item_metadata.tree
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), described)
        tree = reader.restore(folder, target)
        return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}

    return read


@pytest.fixture(scope="session")
def snapshot():
    """directory -> {file: (content, time of its last change)}."""

    def take(folder):
        files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    return take


@pytest.fixture
def at_root(monkeypatch):
    """Paths like configs/digits_ssl.py are those of the project."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def call_main(capfd, at_root):
    """main(argv) in this process -> (exit code, the last of `lines` lines on stderr)."""
    from scoressl_jax.main import main

    def call(*argv, lines=1):
        capfd.readouterr()
        code = main(list(argv))
        said = capfd.readouterr().err.strip().splitlines()
        assert len(said) == lines, said
        return code, said[-1]

    return call


def without_seconds(value):
    if isinstance(value, dict):
        return {name: without_seconds(v) for name, v in value.items() if name != "seconds"}
    return value


@pytest.fixture(scope="session")
def assert_same_run(restored):
    """Two runs end alike, bit for bit: states, samples, results but for seconds, metrics but for time."""

    def check(one, other):
        for stage in ("score", "classifier"):
            states = [restored(workdir, stage, STEPS) for workdir in (one, other)]
            assert states[0].keys() == states[1].keys()
            assert any("ema_params" in name for name in states[0])
            assert any("opt_state" in name for name in states[0])
            for name, array in states[0].items():
                np.testing.assert_array_equal(array, states[1][name], err_msg=name, strict=True)
        samples = [np.load(workdir / "samples" / "samples.npz") for workdir in (one, other)]
        for name in ("images", "labels"):
            np.testing.assert_array_equal(samples[0][name], samples[1][name], strict=True)
        results = [without_seconds(json.loads((workdir / "results.json").read_text())) for workdir in (one, other)]
        assert results[0] == results[1]
        rows = [[row | {"time": 0} for row in read_metrics(workdir)] for workdir in (one, other)]
        assert rows[0] == rows[1]

    return check
