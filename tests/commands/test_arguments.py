"""What command lines share: paths as people type them, and targets that are known to be writable before the work."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import scoressl_jax
from scoressl_jax.api import OpenedRun
from scoressl_jax.commands import evaluate
from scoressl_jax.commands.run import parse
from scoressl_jax.data.npz import load_npz
from scoressl_jax.data.splits import load_split
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import data, init_from
from scoressl_jax.experiment.config import check_generation, default_config
from scoressl_jax.weights.inception import read_arrays
from scoressl_jax.weights.score_sde import read_flax
from tests.small import stripes

READ_ONLY = "/proc"  # where nobody can make a file, whoever they are


@pytest.fixture
def home(tmp_path, monkeypatch, old_run):
    """A home with a run, an .npz, a config and an index file; the working directory is another, which stays empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.move(old_run, folder / "run")
    np.savez(folder / "a.npz", **stripes())
    np.savez(folder / "b.npz", **stripes(seed=1))
    (folder / "my.py").write_text("from scoressl_jax.experiment.config import default_config as get_config\n")
    (folder / "labels.txt").write_text("0\n1\n2\n")
    (folder / "here").mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder / "here")
    yield folder
    assert not list((folder / "here").iterdir())


def test_a_tilde_is_the_home_in_every_command(home, scoressl):
    for argv, made in (
        (("report", "~/run"), "run/report.html"),
        (("compare", "~/run", "--out=~/compared"), "compared/compare.html"),
        (("pack", "~/a.npz", "~/packed"), "packed/train-00001.npz"),
        (("evaluate", "~/a.npz", "~/b.npz", "--features=pixels", "--out=~/figures.json"), "figures.json"),
        (("evaluate", "~/a.npz", "~/b.npz", "--features=pixels"), "b_generation.json"),
        (("sample", "~/run", "--out=~/drawn", "--count=2", "--steps=2"), "drawn/0/00000.png"),
        (("run", "--workdir=~/run", "--mode=report"), "run/report.html"),
    ):
        (home / made).unlink(missing_ok=True)
        code, _, errors = scoressl(*argv)
        assert code == 0, errors
        assert (home / made).is_file()
    assert scoressl_jax.open("~/run").workdir == home / "run"


def test_a_tilde_is_the_home_in_every_field(home):
    config, workdir, _ = parse(["--config=~/my.py", "--workdir=~/new", "--config.data.path=~/a.npz"])
    assert (config.score.network, workdir) == (default_config().score.network, "~/new")
    config.data.name, config.data.num_labels = "npz", 0
    assert len(data.load_dataset(config).x_train) == 60
    config.data.labels_file = "~/labels.txt"
    assert data.split_labels(config, data.load_dataset(config)).split.labeled.tolist() == [0, 1, 2]
    assert init_from.load("run:~/run", 8).step > 0
    with pytest.raises(UserError, match="b.npz is not the Inception of FID"):
        read_arrays("~/b.npz")
    with pytest.raises(UserError, match="b.npz cannot be read as msgpack|is a PyTorch file"):
        read_flax("~/b.npz", 8)
    config.evaluation.features, config.evaluation.inception_weights = "inception", "~/b.npz"
    check_generation(config)  # the file is there
    config.classifier.init_from = "run:~/nothing"
    with pytest.raises(UserError, match=f"config.classifier.init_from: {home}/nothing holds no run"):
        init_from.classifier_weights(SimpleNamespace(config=config))
    assert len(load_npz("~/a.npz").x_train) == 60
    assert len(load_split("~/labels.txt", 60).labeled) == 3


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (("run", "--config=digits_ssl_da", "--workdir=gs://bucket/run"), "--workdir=gs://bucket/run"),
        (("run", "--config=gs://bucket/my.py", "--workdir=~/x"), "--config=gs://bucket/my.py"),
        (("report", "s3://bucket/run"), "s3://bucket/run"),
        (("sample", "~/run", "--out=gs://bucket/x"), "--out=gs://bucket/x"),
        (("compare", "~/run", "--out=gs://bucket/x"), "--out=gs://bucket/x"),
        (("evaluate", "~/a.npz", "gs://bucket/b.npz"), "gs://bucket/b.npz"),
        (("pack", "~/a.npz", "gs://bucket/x"), "gs://bucket/x"),
        (("import", "gs://bucket/checkpoint", "--to=~/x"), "gs://bucket/checkpoint"),
        (("import", "~/a.npz", "--to=gs://bucket/x.npz"), "--to=gs://bucket/x.npz"),
    ],
)
def test_a_bucket_is_refused_before_a_folder_of_its_name_is_made(argv, named, home, refused):
    assert f"{named}: only folders of this machine, or mounted ones, can be used" in refused(*argv)
    assert not (home / "x").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.path", "gs://bucket/a.npz"),
        ("data.labels_file", "gs://bucket/labels.txt"),
        ("score.init_from", "run:gs://bucket/run"),
        ("evaluation.inception_weights", "gs://bucket/a.npz"),
    ],
)
def test_a_bucket_in_a_field_is_named_with_the_field(field, value, home, refused):
    flags = ["--config.data.name=npz", "--config.data.path=~/a.npz", "--config.data.num_labels=30"]
    flags += ["--config.evaluation.features=inception"] * ("inception" in field)
    line = refused("check", "--config=digits_ssl_da", *flags, f"--config.{field}={value}")
    assert f"--config.{field}={value.removeprefix('run:')}: only folders of this machine" in line


@pytest.mark.parametrize("name", ["out", "out.npz"])
def test_samples_that_could_not_be_kept_are_not_drawn(name, home, refused, monkeypatch):
    monkeypatch.setattr(OpenedRun, "sample", lambda *_, **__: pytest.fail("drawn"))
    assert f"--out={READ_ONLY}/{name} cannot be written (" in refused("sample", "~/run", f"--out={READ_ONLY}/{name}")


def test_figures_that_could_not_be_kept_are_not_computed(home, refused, monkeypatch):
    monkeypatch.setattr(evaluate, "compare_samples", lambda *_, **__: pytest.fail("computed"))
    argv = ("evaluate", "~/a.npz", "~/b.npz", "--features=pixels", f"--out={READ_ONLY}/x.json")
    assert f"--out={READ_ONLY}/x.json cannot be written (" in refused(*argv)


def test_a_comparison_that_could_not_be_kept(home, scoressl):
    code, out, (line,) = scoressl("compare", "~/run", f"--out={READ_ONLY}")
    assert (code, out) == (2, "")
    assert f"--out={READ_ONLY} cannot be written (" in line
