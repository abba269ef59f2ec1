"""A run with a teacher: what it writes, what it opens again, what is refused, what is said of it."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from small import command, stripes

from scoressl_jax.experiment import estimate, speaker
from scoressl_jax.experiment.config import config_of_run
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.models.clean_resnet import CleanResNet, applied, statistics

TEACHER = dict(method="fixmatch", depth=4, steps=4, batch_size=6, unlabeled_batch_size=8, warmup=0, schedule="constant")
FLAGS = tuple(f"--config.teacher.{name}={value}" for name, value in TEACHER.items())
FLAGS += ("--config.classifier.terms.pseudo=1.0",)  # what a run with a teacher does not read stays at its default


@pytest.fixture(scope="module")
def taught_run(compiled, tmp_path_factory):
    """Directory of `run`, whose teacher is trained and has labelled every image, and of its data `own.npz`."""
    folder = tmp_path_factory.mktemp("taught")
    np.savez(folder / "own.npz", **stripes())
    assert command(folder / "run", *FLAGS, "--mode=train_teacher", path=folder / "own.npz") == 0
    return folder


@pytest.fixture
def own(taught_run, tmp_path):
    """Copies of both, the test's own: `workdir` and `path`."""
    path = shutil.copyfile(taught_run / "own.npz", tmp_path / "own.npz")
    return SimpleNamespace(workdir=shutil.copytree(taught_run / "run", tmp_path / "run"), path=path)


def probabilities(workdir):
    return Run(workdir).arrays("teacher")["probabilities"]


def test_every_training_image_is_labelled_in_order_by_the_averages(taught_run):
    run, x = Run(taught_run / "run"), stripes()["x_train"] / np.float32(255)
    network, params = CleanResNet(3, 4), run.params("teacher")
    known = statistics(network, params, x)
    expected = softmax(np.asarray(applied(network, params, known)(x)[0]), axis=1)
    found = probabilities(run.workdir)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert np.abs(np.diff(found, axis=0)).max() > 1e-3
    assert run.steps_done("teacher") == 4


def test_what_is_said_of_it(taught_run):
    block = json.loads((taught_run / "run" / "results.json").read_text())["teacher"]
    run, y = Run(taught_run / "run"), stripes()["y_train"]
    hidden = np.setdiff1d(np.arange(60), run.labels["labeled"])
    right = (probabilities(run.workdir).argmax(1) == y)[hidden].mean()
    assert block["unlabeled_accuracy"] == pytest.approx(right)
    assert block["unlabeled_accuracy_standard_error"] == pytest.approx(np.sqrt(right * (1 - right) / 30))
    assert (block["method"], block["steps"]) == ("fixmatch", 4)
    assert block["parameters"] == 9 * 16 + 2 * 16 + 16 * 3 + 3


def test_where_no_label_is_known_nothing_is_said_of_hidden_ones(tmp_path, taught_run):
    np.savez(tmp_path / "own.npz", **stripes(labels=30))
    assert command(tmp_path / "run", *FLAGS, "--mode=train_teacher", path=tmp_path / "own.npz") == 0
    block = json.loads((tmp_path / "run" / "results.json").read_text())["teacher"]
    assert "unlabeled_accuracy" not in block
    assert probabilities(tmp_path / "run").shape == (60, 3)


def test_it_is_opened_from_its_files_alone(own):
    """As it answered in the run, on images that it was not trained on too, each by itself."""
    own.path.unlink()
    run, data = Run(own.workdir), stripes()
    found = speaker.opened(run, config_of_run(run), 3)
    np.testing.assert_allclose(found.probabilities(data["x_train"]), probabilities(own.workdir), rtol=1e-4, atol=1e-6)
    network, params = CleanResNet(3, 4), run.params("teacher")
    known = statistics(network, params, data["x_train"] / np.float32(255))
    expected = applied(network, params, known)(data["x_test"] / np.float32(255))[0]
    np.testing.assert_allclose(found.probabilities(data["x_test"]), softmax(expected, axis=1), rtol=1e-3, atol=1e-5)
    one = np.concatenate([found.probabilities(image[None]) for image in data["x_test"][:3]])
    np.testing.assert_allclose(one, found.probabilities(data["x_test"])[:3], rtol=1e-4, atol=1e-6)
    shutil.rmtree(own.workdir / "checkpoints")
    (own.workdir / "teacher.npz").unlink()
    assert speaker.opened(run, config_of_run(run), 3) is None


def test_again_it_is_done(own, capfd):
    before = (own.workdir / "teacher.npz").read_bytes()
    assert command(own.workdir, "--mode=train_teacher") == 0
    said = capfd.readouterr().out
    assert f"teacher: done, {own.workdir}/checkpoints/teacher" in said
    assert f"labels: done, {own.workdir}/teacher.npz" in said
    assert (own.workdir / "teacher.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("teacher.method=mean_teacher", "config.teacher.method is 'fixmatch' in the run"),
        ("teacher.fixmatch.threshold=0.5", "config.teacher.fixmatch.threshold is 0.95 in the run"),
        ("teacher.cutout=0.1", "config.teacher.cutout is 0.4 in the run"),
        ("seed=3", "config.seed is 0 in the run"),
    ],
)
def test_another_teacher_is_refused_in_the_same_run(flag, words, own, complaint):
    before = (own.workdir / "teacher.npz").read_bytes()
    line = complaint(own.workdir, f"--config.{flag}")
    assert line.startswith(words)
    assert "checkpoints/teacher" in line
    assert (own.workdir / "teacher.npz").read_bytes() == before


def test_more_steps_go_on_and_label_anew(own):
    before = probabilities(own.workdir)
    assert command(own.workdir, "--config.teacher.steps=8", "--mode=train_teacher") == 0
    assert Run(own.workdir).steps_done("teacher") == 8
    assert np.abs(probabilities(own.workdir) - before).max() > 1e-4


def test_the_classifier_learns_from_it_and_labels_may_become_hard_before_that(own, complaint):
    fields = ("--config.teacher.hard=True", "--config.classifier.steps=2", "--config.score.steps=2")
    terms = ("--config.classifier.terms.taught=2.0",)
    (own.workdir / "teacher.npz").unlink()
    assert command(own.workdir, *fields, *terms, "--mode=train_score") == 0
    assert "stage labels of" in complaint(own.workdir, "--mode=train_classifier")
    for mode in ("train_teacher", "train_classifier"):
        assert command(own.workdir, f"--mode={mode}") == 0
    rows = [row for row in Run(own.workdir).metrics if row["stage"] == "classifier"]
    assert {"taught", "taught_tau", "ce"} <= rows[-1].keys()
    assert "pseudo" not in rows[-1]
    whole = rows[-1]["ce"] + 2 * rows[-1]["taught"] + rows[-1]["taught_tau"]
    assert rows[-1]["loss"] == pytest.approx(whole, rel=1e-4)
    line = complaint(own.workdir, "--config.teacher.hard=False")
    assert line.startswith("config.teacher.hard is True in the run")
    assert "checkpoints/classifier" in line
    assert "checkpoints/teacher" not in line


def test_check_lists_the_teacher_and_what_it_would_take(own, capsys, monkeypatch):
    """Of its stages alone: the others take as long as ever."""
    stages = [stage for stage in IMAGES.stages if stage.mode == "train_teacher"]
    kind, asked = dataclasses.replace(IMAGES, stages=stages), []
    monkeypatch.setattr(estimate, "report_job", lambda job: asked.append(job))
    estimate.check(kind, IMAGES.open(Run(own.workdir)))
    (job,) = asked
    assert (job.name, job.steps, job.batch_sizes) == ("teacher", 4, {"x": 6, "x_u": 8})
    monkeypatch.undo()
    estimate.report_job(job)
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("teacher")
    assert "227 parameters, batch " in said
    assert "4 steps: about" in said
    plain = IMAGES.open(Run(own.workdir))
    plain.config.teacher.method = "none"
    estimate.check(kind, plain)
    assert "teacher" not in capsys.readouterr().out


def test_a_teacher_that_is_stopped_early_is_finished_however_its_steps_divide(own):
    """5 steps, of which .25 is one."""
    workdir = own.workdir.with_name("stopped")
    fields = ("--config.teacher.steps=5", "--config.teacher.stop=0.25")
    assert command(workdir, *FLAGS, *fields, "--mode=train_teacher", path=own.path) == 0
    assert Run(workdir).steps_done("teacher") == 1
    assert jnp.isfinite(probabilities(workdir)).all()
