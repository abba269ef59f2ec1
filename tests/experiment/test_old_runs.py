"""Two runs of the former version, of format 1, open and go on: one that is finished, and one on positive and unlabelled
images that was stopped at step 10 of its classifier's 20.

interrupted_classifier.npz has the averaged weights to which the former version brought the second one.
"""

import dataclasses
import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

import scoressl_jax
from scoressl_jax.data import digits
from scoressl_jax.experiment.config import FIELDS, config_of_run, default_config
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import flat
from scoressl_jax.main import main
from scoressl_jax.training.metrics import read_metrics

OLD_RUNS = Path(__file__).parent / "old_runs"


@pytest.fixture
def finished(tmp_path):
    return unpacked("finished", tmp_path)


@pytest.fixture
def interrupted(tmp_path):
    return unpacked("interrupted", tmp_path)


def unpacked(name, folder):
    with tarfile.open(OLD_RUNS / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.fixture
def without_data(monkeypatch):
    """Whoever loads the data set fails."""

    def fail():
        raise AssertionError("the data were loaded")

    monkeypatch.setattr(digits, "load_digits", fail)


@pytest.fixture
def other_defaults(monkeypatch):
    """Fields that old runs have, as a later version may have them."""
    values = {
        "score": {"learning_rate": 1.0, "steps": 7},
        "sampling": {"scale": 1.0, "count": 9},
        "sde": {"name": "vp"},
        "classifier": {"ema": 0.5, "kind": "noisy", "tau": 0.5},
        "evaluation": {"judge_steps": 3, "k": 2},
    }
    for block, fields in values.items():
        for name, value in fields.items():
            changed = dataclasses.replace(FIELDS[block][name], default=value)
            monkeypatch.setitem(FIELDS[block], name, changed)
            assert default_config()[block][name] == value


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def made(workdir, snapshot):
    """Everything that took time to make, and when it was made."""
    folders = ("checkpoints", "samples/samples.npz", "evaluation.npz", "metrics.jsonl")
    return {name: value for name, value in snapshot(workdir).items() if name.startswith(folders)}


# A finished run


def test_a_finished_run_is_not_made_again(finished, snapshot, capfd):
    before, figures = made(finished, snapshot), results(finished)
    capfd.readouterr()
    assert main([f"--workdir={finished}"]) == 0
    said = capfd.readouterr()
    for stage, file in (("score", "checkpoints/score"), ("classifier", "checkpoints/classifier"),
                        ("samples", "samples/samples.npz"), ("judge", "checkpoints/judge"),
                        ("evaluation", "evaluation.npz")):  # fmt: skip
        assert f"\n{stage}: done, {finished}/{file}\n" in said.out
    assert "%|" not in said.out, "a progress bar"
    assert said.err == ""
    assert made(finished, snapshot) == before
    assert results(finished) == figures
    assert "12.2 % accuracy from 100 labels" in (finished / "report.html").read_text()


def test_it_then_has_the_files_of_today(finished):
    before = json.loads((finished / "config.json").read_text())
    command = (finished / "command.txt").read_text()
    assert "format" not in before
    assert main([f"--workdir={finished}"]) == 0
    after = json.loads((finished / "config.json").read_text())
    assert after.pop("format") == 2
    fields = dict(flat(after))
    assert dict(flat(before)) == {name: fields[name] for name, _ in flat(before)}
    assert after["teacher"]["method"] == "none"
    assert after["score"]["warm_start"] is False
    repeating = (finished / "command.txt").read_text()
    assert repeating != command
    assert "--config.score.width=8" in repeating
    facts = json.loads((finished / "data.json").read_text())
    assert {"images", "labels", "true_labels", "test", "classes"} == set(facts["fingerprint"])
    assert results(finished)["data"].items() <= facts.items()


def test_a_finished_run_opens_without_its_data(finished, without_data):
    images = np.load(finished / "evaluation.npz")["gradient_images"]
    run = Run.open(finished)
    assert run.format == 1
    assert run.class_names() == list("0123456789")
    assert run.data["image_shape"] == [8, 8, 1]
    assert (run.data["num_train"], run.data["num_labeled"], run.data["num_test"]) == (1437, 100, 360)
    assert [run.steps_done(stage) for stage in ("score", "classifier", "judge", "cas")] == [20, 20, 10, 0]
    for stage in ("score", "classifier"):
        assert sum(x.size for x in jax.tree.leaves(run.params(stage))) == run.results[stage]["parameters"]
    opened = scoressl_jax.open(finished)
    assert (opened.class_names, opened.image_shape) == (tuple("0123456789"), (8, 8, 1))
    assert opened.classify(images).shape == (10, 10)


def test_what_is_opened_classifies_as_the_former_version_did(finished):
    data = digits.load_digits()
    run = scoressl_jax.open(finished)
    found = run.classify(data.x_test).argmax(-1)
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (data.y_test, found), 1)
    np.testing.assert_array_equal(counts, np.load(finished / "evaluation.npz")["confusion"])
    assert (found == data.y_test).mean() == run.results["classifier"]["accuracy"]


def test_its_page_is_made_without_its_data(finished, without_data, snapshot):
    before = made(finished, snapshot)
    (finished / "report.html").unlink(missing_ok=True)
    assert main([f"--workdir={finished}", "--mode=report"]) == 0
    page = (finished / "report.html").read_text()
    assert "12.2 % accuracy from 100 labels" in page
    assert "<td>for training</td><td>1,437</td>" in page
    assert page.count("<img") > 8
    assert "not measured" not in page
    assert made(finished, snapshot) == before


def test_more_samples_of_a_finished_run_begin_with_its_own(finished, without_data):
    before = np.load(finished / "samples" / "samples.npz")
    assert main([f"--workdir={finished}", "--mode=sample", "--config.sampling.count=24"]) == 0
    after = np.load(finished / "samples" / "samples.npz")
    assert len(after["images"]) == 24
    np.testing.assert_array_equal(after["images"][:20], before["images"])
    assert results(finished)["samples"]["count"] == 24
    assert "generation" not in results(finished), "it was of 20 samples"
    assert Run.open(finished).made["evaluation"]["samples"] == 20


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("score.warmup=6", ["config.score.warmup is 5", "6 now", "delete checkpoints/score, checkpoints/classifier"]),
        ("sampling.scale=2.0", ["config.sampling.scale is 8.0", "delete samples/samples.npz, evaluation.npz"]),
        ("score.steps=40", ["config.score.steps is 20", "its cosine schedule has run to its end"]),
        ("data.num_labels=90", ["90 labels now, 100 then", "--mode=train_classifier"]),
        ("data.split_seed=1", ["other labels than then", "config.data.split_seed is 1, was 0"]),
        ("data.num_positive=5", ["config.data.num_positive is 5", "config.regime ssl does not read it"]),
    ],
)
def test_changes_of_a_finished_run_are_refused(flag, words, finished, call_main, snapshot):
    before = snapshot(finished)
    code, line = call_main(f"--workdir={finished}", f"--config.{flag}")
    assert code == 2
    for word in words:
        assert word in line
    assert snapshot(finished) == before


def test_another_number_of_images_is_refused(finished, call_main, monkeypatch, snapshot):
    data, before = digits.load_digits(), snapshot(finished)
    changes = {
        "350 test images now, 360 then": {"x_test": data.x_test[:350], "y_test": data.y_test[:350]},
        "1400 training images now, 1437 then": {"x_train": data.x_train[:1400], "y_train": data.y_train[:1400]},
    }
    for words, change in changes.items():
        monkeypatch.setattr(digits, "load_digits", lambda change=change: dataclasses.replace(data, **change))
        code, line = call_main(f"--workdir={finished}")
        assert code == 2
        assert words in line
    assert snapshot(finished) == before


def test_other_labelled_images_train_the_classifier_afresh(finished, snapshot, capfd):
    before = snapshot(finished / "checkpoints" / "score")
    assert main([f"--workdir={finished}", "--config.data.split_seed=1", "--mode=train_classifier"]) == 0
    assert "other labels than then: classifier" in capfd.readouterr().out
    assert snapshot(finished / "checkpoints" / "score") == before
    assert (finished / "replaced-1" / "checkpoints" / "classifier").is_dir()
    old, new = (json.loads((f / "labels.json").read_text())["labeled"] for f in (finished / "replaced-1", finished))
    assert old != new
    assert results(finished)["classifier"]["steps"] == 20
    assert "accuracy" not in results(finished)["classifier"]


def test_changed_defaults_do_not_alter_a_run(other_defaults, finished, snapshot, capfd):
    config = config_of_run(Run.open(finished))
    assert (config.score.learning_rate, config.score.steps, config.sde.name) == (1e-3, 20, "ve")
    assert (config.classifier.ema, config.classifier.kind, config.classifier.tau) == (0.99, "denoising_assisted", 0.01)
    assert (config.sampling.scale, config.sampling.count, config.evaluation.k) == (8.0, 20, 5)
    before, figures = made(finished, snapshot), results(finished)
    assert main([f"--workdir={finished}"]) == 0
    assert made(finished, snapshot) == before
    assert results(finished) == figures
    assert json.loads((finished / "config.json").read_text())["score"]["learning_rate"] == 1e-3


def test_a_field_that_is_newer_than_a_run_is_what_runs_had_before(finished, snapshot):
    """The choice of a sampler came after runs that had but one."""
    values = json.loads((finished / "config.json").read_text())
    del values["sampling"]["sampler"]
    (finished / "config.json").write_text(json.dumps(values))
    assert default_config().sampling.sampler == "dpm_solver"
    assert config_of_run(Run.open(finished)).sampling.sampler == "predictor_corrector"
    before = made(finished, snapshot)
    assert main([f"--workdir={finished}"]) == 0
    assert made(finished, snapshot) == before
    assert json.loads((finished / "config.json").read_text())["sampling"]["sampler"] == "predictor_corrector"


# An interrupted run


def test_an_interrupted_run_goes_on_to_the_end_of_the_former_version(interrupted, snapshot):
    before = snapshot(interrupted / "checkpoints" / "score")
    logged = read_metrics(interrupted)
    assert main([f"--workdir={interrupted}"]) == 0
    assert snapshot(interrupted / "checkpoints" / "score") == before
    rows = read_metrics(interrupted)
    assert rows[:3] == logged
    assert [(row["stage"], row["step"]) for row in rows] == [
        ("score", 10), ("score", 20), ("classifier", 10), ("classifier", 20), ("judge", 10),
    ]  # fmt: skip
    leaves = jax.tree_util.tree_leaves_with_path(Run.open(interrupted).params("classifier"))
    found = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    with np.load(OLD_RUNS / "interrupted_classifier.npz") as expected:
        assert found.keys() == set(expected)
        for name, leaf in found.items():
            np.testing.assert_allclose(leaf, expected[name], atol=1e-5, err_msg=name)
    block = results(interrupted)["classifier"]
    assert {"accuracy", "f1", "accuracy_all_noise"} <= set(block)
    assert [row["class"] for row in block["per_class"]] == ["negative", "positive"]
    assert (interrupted / "report.html").exists()


def test_an_interrupted_run_says_what_is_missing(interrupted, call_main):
    run = Run.open(interrupted)
    assert (run.steps_done("score"), run.steps_done("classifier")) == (20, 10)
    code, line = call_main(f"--workdir={interrupted}", "--mode=sample")
    assert code == 2
    assert "stage classifier of" in line
    assert "--mode=train_classifier" in line
    assert main([f"--workdir={interrupted}", "--mode=report"]) == 0
    assert "not measured yet" in (interrupted / "report.html").read_text()
