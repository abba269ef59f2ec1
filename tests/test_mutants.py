"""Tests that bite: every mistake of tests/mutants.py is noticed by some fast test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, TESTS

ROOT = Path(__file__).parent.parent


def name_of(mutant):
    path, old, new = mutant
    return f"{path}: {' '.join(old.split())[:40]} -> {' '.join(new.split())[:40]}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mistake_is_in_the_code_once_and_has_tests(mutant):
    path, old, new = mutant
    assert (ROOT / "scoressl_jax" / path).read_text().count(old) == 1
    assert old != new
    assert all((ROOT / test).exists() for test in TESTS[path].split())


def test_there_are_enough():
    assert len(set(MUTANTS)) == len(MUTANTS) >= 60


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutants")
    for name in ("scoressl_jax", "tests", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mistake_is_noticed(mutant, copy, compiled):
    path, old, new = mutant
    file = copy / "scoressl_jax" / path
    whole = file.read_text()
    file.write_text(whole.replace(old, new))
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "JAX_COMPILATION_CACHE_DIR": compiled}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-n", "0", "--durations=0", *TESTS[path].split()],
            cwd=copy, env=env, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        file.write_text(whole)
    assert done.returncode == 1, done.stdout[-2000:]
