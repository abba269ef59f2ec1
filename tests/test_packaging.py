"""What is shipped: an sdist of the whole project, and a wheel of the program and its configs that runs anywhere."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import scoressl_jax

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("scoressl_jax", "configs", "docs", "launch", "tests")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md")
# The main job, as short as every stage allows.
SHORT = (
    "--config.score.steps=40",
    "--config.classifier.steps=40",
    "--config.teacher.steps=40",
    "--config.sampling.count=20",
    "--config.sampling.steps=4",
    "--config.evaluation.times=3",
    "--config.evaluation.curve_images=100",
    "--config.evaluation.judge_steps=20",
    "--config.evaluation.cas_steps=0",
    "--config.evaluation.likelihood_images=0",
)


def build(kind, source, out):
    """The sdist or wheel that setuptools makes of the directory `source`, as pip would ask for it."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project, because building leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    for name in FILES:
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def files(checkout):
    """Names of all files of the project."""
    return {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sdist(checkout, files, tmp_path_factory):  # `files` first: names from before the build
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist, so that this is shown to be enough."""
    source = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    (project,) = source.iterdir()
    return build("wheel", project, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def dist_info(wheel):
    """{name: text} of the wheel's own files on itself."""
    with zipfile.ZipFile(wheel) as archive:
        names = (name for name in archive.namelist() if ".dist-info/" in name)
        return {name.split(".dist-info/")[1]: archive.read(name).decode() for name in names}


def test_the_sdist_holds_the_whole_project(files, sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/experiment/old_runs/finished.tar.gz", "docs/experiments.md", "launch/reproduce.sh"} <= files
    assert files - held == set()
    assert not [name for name in held if "__pycache__" in name]


def test_the_wheel_holds_the_program_and_its_configs_and_nothing_else(files, wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    program = {name for name in files if name.startswith("scoressl_jax/")}
    configs = {f"scoressl_jax/{name}" for name in files if name.startswith("configs/")}
    assert "scoressl_jax/configs/digits_ssl_da.py" in configs
    assert held == program | configs


def test_the_wheel_says_what_it_is(dist_info):
    metadata = email.message_from_string(dist_info["METADATA"])
    assert metadata["Name"] == "scoressl_jax"
    assert metadata["Version"] == scoressl_jax.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra")) == {"test", "tfds", "torch", "notebook", "gpu", "tpu"}
    assert "jax>=0.10.2" in metadata.get_all("Requires-Dist")
    assert metadata.get_payload().startswith("# scoressl_jax")
    assert dist_info["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    assert "[console_scripts]\nscoressl = scoressl_jax.__main__:run\n" in dist_info["entry_points.txt"]


def test_the_citation_and_the_changelog_are_of_this_version():
    assert f"\nversion: {scoressl_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert latest[1] == scoressl_jax.__version__


@pytest.mark.slow
def test_the_installed_wheel_runs_the_main_job_in_an_empty_directory(wheel, compiled, tmp_path):
    """Without the checkout: the package and the config, by its bare name, are those of the wheel."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    env = {**os.environ, "PYTHONPATH": str(site), "JAX_COMPILATION_CACHE_DIR": compiled}

    def call(*command):
        done = subprocess.run(command, cwd=empty, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Dependencies are those of this environment; PYTHONPATH comes before an editable install of the project.
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={site}", wheel)
    assert Path(call(sys.executable, "-c", "import scoressl_jax; print(scoressl_jax.__file__)")).is_relative_to(site)

    call(sys.executable, "-m", "scoressl_jax.main", "--config=digits_ssl_da", "--workdir=run", *SHORT)
    assert (empty / "run" / "results.json").is_file()
    (empty / "run" / "report.html").unlink()
    call(site / "bin" / "scoressl", "report", "run")
    assert (empty / "run" / "report.html").is_file()
    assert [path.name for path in empty.iterdir()] == ["run"]
