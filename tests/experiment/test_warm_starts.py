"""Training that begins with the weights of another run: with which, and what is said of those that do not fit."""

import json
import shlex
import shutil

import jax
import numpy as np
import pytest
from small import command, stripes

from scoressl_jax.experiment.run import Run
from scoressl_jax.studies.moons import config as moons


@pytest.fixture
def begun(own, restored):
    """(stage, flags) -> (directory, states at its first and its last step) of a run that trains it for five steps."""

    def train(stage, *flags, mode=None):
        workdir = own.workdir.with_name("begun")
        once = (f"--config.{stage}.steps=5", "--config.training.checkpoint_every=100")
        source = f"--config.{stage}.init_from=run:{own.workdir}"
        assert command(workdir, source, *once, *flags, f"--mode=train_{stage}", path=own.path) == 0
        return workdir, [restored(workdir, stage, step) for step in (0, 5)]

    return train


def assert_begins_with(state, averages):
    """Both the parameters and their averages; averages: {path: array}."""
    flat = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(averages)}
    for part in ("params", "ema_params"):
        found = {name: array for name, array in state.items() if name.startswith(f"['{part}']")}
        assert found.keys() == {f"['{part}']{name}" for name in flat}
        for name, array in flat.items():
            np.testing.assert_array_equal(found[f"['{part}']{name}"], array, err_msg=name, strict=True)


def moved(first, last):
    return [name for name in first if name.startswith("['params']") and (first[name] != last[name]).any()]


def test_a_score_network_begins_with_another_s_averages_and_trains_on(own, begun, small_run):
    workdir, (first, last) = begun("score", "--config.score.warm_start=True")
    assert_begins_with(first, Run(small_run / "run").params("score"))
    assert any("opt_state" in name for name in first)
    assert len(moved(first, last)) > 3
    block = json.loads((workdir / "results.json").read_text())["score"]
    assert block["steps"] == 5
    assert "init_from" not in block, "it was trained here"


def test_a_classifier_begins_with_another_s_averages(own, begun, small_run):
    flags = (f"--config.score.init_from=run:{own.workdir}",)
    assert command(own.workdir.with_name("begun"), *flags, "--mode=train_score", path=own.path) == 0
    workdir, (first, last) = begun("classifier", *flags)
    assert_begins_with(first, Run(small_run / "run").params("classifier"))
    assert len(moved(first, last)) > 3
    results = json.loads((workdir / "results.json").read_text())
    assert results["classifier"]["steps"] == 5
    assert results["score"] == {"parameters": results["score"]["parameters"], "steps": 20,
                                "init_from": f"run:{own.workdir}"}  # fmt: skip


def test_taken_weights_may_be_taken_again_whatever_their_steps(own, begun, small_run):
    taken = own.workdir.with_name("taken")
    flags = (f"--config.score.init_from=run:{own.workdir}", "--config.score.steps=7", "--mode=train_score")
    assert command(taken, *flags, path=own.path) == 0
    assert Run(taken).steps_done("score") == 20
    again = own.workdir.with_name("again")
    assert command(again, f"--config.score.init_from=run:{taken}", "--mode=train_score", path=own.path) == 0
    found, expected = Run(again).params("score"), Run(small_run / "run").params("score")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_remedies_of_a_run_that_cannot_be_trained_on_work(own, complaint):
    """What the line says of a cosine schedule and of a classifier that hinders is a command that runs."""
    config = json.loads((own.workdir / "config.json").read_text())
    config["classifier"]["schedule"] = "cosine"
    (own.workdir / "config.json").write_text(json.dumps(config))
    for i, stage in enumerate(("score", "classifier")):
        line = complaint(own.workdir, f"--config.{stage}.steps=30")
        flags = [word for word in shlex.split(line.replace(",", " ")) if word.startswith("--config.")]
        assert len(flags) == 2 - i
        new = own.workdir.with_name(f"new{i}")
        rest = ["--config.score.init_from=run:" + str(own.workdir)] * i
        for mode in ("train_score", f"train_{stage}"):
            assert command(new, *flags, *rest, f"--config.{stage}.steps=3", f"--mode={mode}", path=own.path) == 0
        assert Run(new).steps_done(stage) == 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.classifier.width=9"], ["Dense_0", "is [", "the network's is ["]),
        (["--config.classifier.kind=denoising_assisted"], ["does not fit"]),
        (["--config.classifier.blocks=2"], ["is missing"]),
        (["--config.classifier.network=resnet", "--config.classifier.depth=18", "--config.classifier.blocks=2"],
         ["is missing", "more keys"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_classifier_is_named(flags, words, own, complaint):
    source = f"--config.classifier.init_from=run:{own.workdir}"
    score = f"--config.score.init_from=run:{own.workdir}"
    new = own.workdir.with_name("new")
    line = complaint(new, source, score, *flags, "--mode=check", path=own.path)
    assert line.startswith(f"config.classifier.init_from: the classifier of {own.workdir} does not fit: ")
    for word in words:
        assert word in line
    assert not new.exists()


def test_a_classifier_of_other_classes(own, complaint):
    arrays = stripes()
    keep = {name: arrays[f"y_{name}"] < 2 for name in ("train", "test")}
    np.savez(own.path, **{key: value[keep[key[2:]]] for key, value in arrays.items()})
    flags = [f"--config.{stage}.init_from=run:{own.workdir}" for stage in ("score", "classifier")]
    line = complaint(own.workdir.with_name("new"), *flags, "--mode=check", path=own.path)
    assert "is [3], the network's is [2]" in line
    assert "the number of classes must be those of this config" in line


@pytest.mark.parametrize("stage", ["score", "classifier"])
def test_a_study_of_the_moons_is_no_source(stage, own, complaint, tmp_path):
    study = Run(tmp_path / "moons")
    study.write_config(json.loads(moons.default_config().to_json()), "")
    (study.workdir / "checkpoints" / "score" / "2500").mkdir(parents=True)
    flags = [f"--config.{name}.init_from=run:{own.workdir}" for name in ("score",) if stage != "score"]
    flags.append(f"--config.{stage}.init_from=run:{study.workdir}")
    line = complaint(tmp_path / "new", *flags, "--mode=check", path=own.path)
    assert line == (
        f"config.{stage}.init_from: {study.workdir} is a study of the two moons, whose networks take points in the "
        "plane, not images: name a run on images of the same size"
    )


def test_a_classifier_that_is_not_finished_or_not_there(own, complaint, tmp_path):
    flags = (f"--config.score.init_from=run:{own.workdir}", "--mode=check")

    def line(source):
        return complaint(tmp_path / "new", f"--config.classifier.init_from={source}", *flags, path=own.path)

    assert line("run:/nowhere").startswith("config.classifier.init_from: /nowhere holds no run")
    trained = complaint(tmp_path / "new", "--config.classifier.init_from=run:/nowhere", path=own.path)
    assert trained.startswith("config.classifier.init_from: /nowhere holds no run")
    assert not (tmp_path / "new" / "checkpoints").exists()  # it is said before anything is trained
    for source in ("weights.pth", "run:", "score_sde_torch:weights.pth"):
        assert line(source) == f"config.classifier.init_from is {source!r}: give run:DIR, the directory of a run"
    shutil.rmtree(own.workdir / "checkpoints" / "classifier" / "20")
    assert line(f"run:{own.workdir}") == (
        f"config.classifier.init_from: the classifier of {own.workdir} has 10 of its 20 steps: finish it first, "
        f"python -m scoressl_jax.main --workdir={own.workdir} --mode=train_classifier"
    )
    shutil.rmtree(own.workdir / "checkpoints" / "score" / "20")
    assert "the score network of" in complaint(tmp_path / "new", *flags, path=own.path)
