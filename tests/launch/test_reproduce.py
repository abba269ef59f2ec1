"""launch/reproduce.sh: a run within a budget of time, going on where it ended, and what it says of bad arguments."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "reproduce.sh"
CONFIG = f"""
import runpy

def get_config():
    config = runpy.run_path("{ROOT / "tests" / "tiny.py"}")["get_config"]()
    config.regime, config.data.name, config.data.num_labels = "supervised", "squares", 20
    config.classifier.kind = "noisy"
    config.classifier.terms.update(ce_tau=0.0, pseudo=0.0, temporal=0.0)
    config.sampling.update(sampler="ddim", corrector="none", steps=2, scale=0.0)
    return config
"""
# In place of the interpreter: the data set is SET or what the real one reads, the program PROGRAM, the summary a word.
STAND_IN = f"""#!/usr/bin/env bash
case "$*" in
    -c*) if [[ ${{SET:-}} ]]; then echo "$SET"; else exec {sys.executable} "$@"; fi ;;
    "-m scoressl_jax.main"*) printf '%s\\n' "$@" > "$PROGRAM_ARGUMENTS"; eval "$PROGRAM" ;;
    "-m scoressl_jax reproduced runs/"*) echo summary ;;
esac
"""


def squares(count):
    """Grey 8x8 noise, with a bright square in every second image."""
    rng, y = np.random.default_rng(count), np.arange(count) % 2
    x = rng.integers(0, 100, (count, 8, 8)).astype(np.uint8)
    x[y == 1, 2:6, 2:6] += 150
    return x, y


@pytest.fixture
def home(tmp_path):
    """A directory with a config file and its packed data set."""
    (tmp_path / "data" / "squares").mkdir(parents=True)
    (tmp_path / "small.py").write_text(CONFIG)
    x, y = squares(200)
    for name, part in (("a", slice(0, 120)), ("b", slice(120, None))):
        np.savez(tmp_path / "data" / "squares" / f"{name}.npz", x_train=x[part], y_train=y[part])
    x, y = squares(60)
    np.savez(tmp_path / "data" / "squares" / "c.npz", x_test=x, y_test=y)
    return tmp_path


@pytest.fixture
def reproduce(compiled, tmp_path):
    """(arguments, environment) -> the finished process, started from tmp_path."""

    def call(*argv, **env):
        quick = {"JAX_COMPILATION_CACHE_DIR": compiled, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
        env = {**os.environ, "PYTHON": sys.executable, **quick, **env}
        argv = [str(argument) for argument in (SCRIPT, *argv)]
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)

    return call


@pytest.fixture
def stood_in(reproduce, tmp_path):
    """The same with a program of the test's own; the process has the program's `arguments`."""
    python, arguments = tmp_path / "python", tmp_path / "arguments"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def call(*argv, program="exit 0", **env):
        ended = reproduce(*argv, PYTHON=str(python), PROGRAM=program, PROGRAM_ARGUMENTS=str(arguments), **env)
        ended.arguments = arguments.read_text().splitlines()
        return ended

    return call


@pytest.mark.slow
def test_a_budget_that_is_too_small_then_the_same_command(home, reproduce):
    ended = reproduce("small.py", 3)
    assert ended.returncode == 75, ended.stderr
    assert "run the same command again" in ended.stdout

    ended = reproduce("small.py", 250)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^score +40 of 40 steps, [\d.,]+ steps/s, [\d.]+ GFLOP a step$", ended.stdout, re.MULTILINE)
    found = json.loads((home / "runs" / "small" / "reproduced.json").read_text())
    results = json.loads((home / "runs" / "small" / "results.json").read_text())
    assert [(block["steps"], block["of"]) for block in found["stages"].values()] == [(40, 40), (40, 40)]
    assert found["results"]["accuracy"] == results["classifier"]["accuracy"]
    assert results["data"]["name"] == "squares"
    assert (results["data"]["num_train"], results["data"]["num_test"]) == (200, 60)
    assert (home / "runs" / "small" / "report.html").exists()


@pytest.mark.parametrize(("name", "data"), [("cifar10_ssl_da", "cifar10"), ("svhn_pu", "svhn_cropped")])
def test_named_experiments_take_their_packed_data(stood_in, name, data):
    ended = stood_in(name, 60, "--config.seed=3", DATA="/sets", RUNS="/elsewhere")
    assert ended.returncode == 0, ended.stderr
    assert ended.arguments == [
        "-m", "scoressl_jax.main", f"--config={ROOT}/configs/{name}.py", f"--workdir=/elsewhere/{name}",
        "--config.data.name=npz", f"--config.data.path=/sets/{data}", "--config.seed=3",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["digits_ssl_da", "moons_dlsm"])
def test_built_in_data_need_no_directory(stood_in, name):
    ended = stood_in(name, 60)
    assert ended.arguments[2:] == [f"--config={ROOT}/configs/{name}.py", f"--workdir=runs/{name}"]


MAKE_RUN = "mkdir -p runs/digits_pu; echo > runs/digits_pu/config.json;"
WORK = "while :; do sleep 0.1; done"


@pytest.mark.parametrize(("budget", "program", "code", "summary"), [
    (2, f"{MAKE_RUN} trap 'exit 75' TERM; {WORK}", 75, True),
    (2, f"{MAKE_RUN} trap '' TERM; {WORK}", 75, True),  # has to be killed
    (2, WORK, 75, False),  # the signal comes before anything is made
    (60, f"{MAKE_RUN} exit 75", 75, True),
    (60, f"{MAKE_RUN} exit 3", 3, False),
    (60, f"{MAKE_RUN} kill -9 $$", 137, False),  # by somebody else, long before the end
])
def test_exit_codes(stood_in, budget, program, code, summary):
    ended = stood_in("digits_pu", budget, program=program, SET="digits")
    assert ended.returncode == code, ended.stderr
    assert ("summary" in ended.stdout) == summary
    assert ("run the same command again" in ended.stdout) == (code == 75)


@pytest.mark.parametrize(("argv", "words"), [
    (["mnist_pu"], "NAME or SECONDS is missing"),
    (["mnist_everything", "60"], "configs/mnist_everything.py"),
    (["none.py", "60"], "there is no experiment none.py"),
    (["mnist_pu", "soon"], "SECONDS is 'soon'"),
    (["mnist_pu", "0"], "SECONDS is '0'"),
    (["mnist_pu", "1.5"], "SECONDS is '1.5'"),
])
def test_bad_arguments(reproduce, argv, words):
    ended = reproduce(*argv)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_a_bad_flag_is_the_programs_to_complain_of(home, reproduce):
    ended = reproduce("small.py", 60, "--config.scroe.steps=3")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "scroe" in ended.stderr
