"""A small finished run that the tests of this folder share, and copies of it."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import small


@pytest.fixture(scope="session")
def small_run(compiled, tmp_path_factory):
    """Directory of `run`, finished, and of `own.npz`, its data; never written to again."""
    folder = tmp_path_factory.mktemp("small")
    np.savez(folder / "own.npz", **small.stripes())
    assert small.command(folder / "run", path=folder / "own.npz") == 0
    return folder


@pytest.fixture
def own(small_run, tmp_path):
    """Copies of both, the test's own: `workdir` and `path`."""
    path = shutil.copyfile(small_run / "own.npz", tmp_path / "own.npz")
    return SimpleNamespace(workdir=shutil.copytree(small_run / "run", tmp_path / "run"), path=path)


@pytest.fixture
def complaint(capfd):
    """command(...) that ends with exit code 2 -> the one line that it says."""

    def run(*arguments, **options):
        capfd.readouterr()
        code = small.command(*arguments, **options)
        said = capfd.readouterr().err.strip().splitlines()
        assert (code, len(said)) == (2, 1), said
        return said[0].removeprefix("scoressl_jax: ")

    return run
