"""scoressl report: the page anew, without the data set, of either kind of study and of runs of the former version."""

import json

import pytest

from scoressl_jax.data import digits
from scoressl_jax.experiment import data
from scoressl_jax.experiment.run import Run
from scoressl_jax.studies.moons import jobs
from scoressl_jax.studies.moons.config import default_config


@pytest.fixture
def unreadable(monkeypatch):
    """No data set can be read."""

    def gone(*_):
        raise AssertionError("the data set was read")

    monkeypatch.setattr(digits, "load_digits", gone)
    monkeypatch.setattr(data, "load_dataset", gone)
    monkeypatch.setattr(jobs, "load_moons", gone)


def test_a_run_of_the_former_version_without_its_data(scoressl, old_run, unreadable, snapshot):
    page = old_run / "report.html"
    page.unlink(missing_ok=True)
    before = snapshot(old_run)
    code, out, errors = scoressl("report", old_run)
    assert (code, errors) == (0, [])
    accuracy = json.loads((old_run / "results.json").read_text())["classifier"]["accuracy"]
    said = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert said["accuracy"] == f"{100 * accuracy:.1f} %"
    assert said["data"] == "digits, semi-supervised from 100 labels"
    assert said["report"] == str(page)
    assert f"{100 * accuracy:.1f} % accuracy from 100 labels" in page.read_text()
    changed = {name for name, content in snapshot(old_run).items() if before.get(name) != content}
    assert {name for name in changed if not name.startswith("figures/")} == {"report.html", "samples/grid.png"}


def test_a_study_of_the_two_moons(scoressl, tmp_path, unreadable):
    run = Run(tmp_path / "moons")
    run.write_config(json.loads(default_config().to_json()), "the command of this run")
    code, out, errors = scoressl("report", run.workdir)
    assert (code, errors) == (0, [])
    assert str(run.workdir / "report.html") in out
    page = (run.workdir / "report.html").read_text()
    assert "moons" in page
    assert "the command of this run" in page


def test_a_run_that_cannot_be_written(refused, old_run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "write", full)
    assert f"{old_run} cannot be written (No space left on device)" in refused("report", old_run)


def test_a_reader_that_left_is_no_page_that_cannot_be_written(scoressl, old_run, monkeypatch):
    def gone(run):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("scoressl_jax.experiment.images.summary", gone)
    code, _, err = scoressl("report", old_run)
    assert code == 75
    assert "cannot be written" not in err
