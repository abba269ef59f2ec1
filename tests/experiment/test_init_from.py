"""Weights of another run: taken as they are, or begun with, or the reason why not is said."""

import json
import shlex
import shutil

import jax
import numpy as np
import pytest
from small import command, stripes

from scoressl_jax.experiment.run import Run
from scoressl_jax.studies.moons import config as moons

LAST = 400


@pytest.fixture
def tiny_from(tiny):
    return lambda source: (*tiny, f"--config.score.init_from={source}")


def test_a_classifier_beside_taken_weights_is_the_one_beside_its_own(program, first_run, tiny_from, restored, tmp_path):
    source, _ = first_run
    outcome = program.run(tmp_path / "run", *tiny_from(f"run:{source}"), "--mode=run")
    assert outcome.code == 0, outcome.err
    assert f"parameters taken from run:{source}" in outcome.out
    own, taken = (restored(workdir, "score", LAST) for workdir in (source, tmp_path / "run"))
    averages = {name: array for name, array in own.items() if name.startswith("['ema_params']")}
    assert len(averages) > 5
    for name, array in averages.items():
        for part in ("ema_params", "params"):  # both are the averages
            np.testing.assert_array_equal(taken[name.replace("ema_params", part)], array, err_msg=name)
    assert not [name for name in taken if "opt_state" in name]
    states = [restored(workdir, "classifier", LAST) for workdir in (source, tmp_path / "run")]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)
    samples = [np.load(workdir / "samples" / "samples.npz")["images"] for workdir in (source, tmp_path / "run")]
    np.testing.assert_array_equal(*samples)
    own, taken = (json.loads((w / "results.json").read_text())["score"] for w in (source, tmp_path / "run"))
    assert taken == {"parameters": own["parameters"], "steps": LAST, "init_from": f"run:{source}"}
    assert f"run:{source}" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.score.width=16"], ["config.score.width is 16, the weights have 32"]),
        (["--config.sde.sigma_max=20.0"], ["trained on noise levels 0.01 to 10", "0.01 to 20"]),
        (["--config.score.scaling=sigma"], ["config.score.scaling is sigma, the weights have gaussian (ours)"]),
    ],
    ids=["width", "noise", "scaling"],
)
def test_what_does_not_fit_is_named(call_main, first_run, tiny_from, tmp_path, flags, words):
    flags = [*tiny_from(f"run:{first_run[0]}"), *flags, "--mode=train_score", f"--workdir={tmp_path / 'run'}"]
    code, line = call_main(*flags)
    assert code == 2
    for word in words:
        assert word in line


def test_a_source_that_is_not_finished_or_not_there(call_main, finished, tiny_from, tmp_path):
    source, rest = f"run:{finished}", ("--mode=train_score", f"--workdir={tmp_path / 'other'}")
    for step in (LAST, LAST - 50):
        shutil.rmtree(finished / "checkpoints" / "score" / str(step))
    code, line = call_main(*tiny_from(source), *rest)
    assert code == 2
    assert f"of its {LAST} steps: finish it first" in line
    shutil.rmtree(finished / "checkpoints" / "score")
    code, line = call_main(*tiny_from(source), *rest)
    assert code == 2
    assert f"has 0 of its {LAST} steps" in line
    code, line = call_main(*tiny_from("run:/nowhere"), *rest)
    assert code == 2
    assert "/nowhere holds no run" in line
    code, line = call_main(*tiny_from("weights.pth"), *rest)
    assert code == 2
    assert "give run:DIR, score_sde_torch:FILE.pth or score_sde_flax:FILE" in line


def test_a_truncated_checkpoint_is_one_clear_line(call_main, finished, tiny_from, tmp_path):
    folder = finished / "checkpoints" / "score" / str(LAST) / "state"
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    flags = tiny_from(f"run:{finished}")
    code, line = call_main(*flags, "--mode=train_score", f"--workdir={tmp_path / 'other'}")
    assert code == 2
    assert "cannot be read" in line
    assert str(folder) in line


# Training that begins with them


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
    study.write_config(json.loads(moons.default_config().to_json()), None)
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
    for source in ("weights.pth", "run:", "score_sde_torch:weights.pth"):
        assert line(source) == f"config.classifier.init_from is {source!r}: give run:DIR, the directory of a run"
    shutil.rmtree(own.workdir / "checkpoints" / "classifier" / "20")
    assert line(f"run:{own.workdir}") == (
        f"config.classifier.init_from: the classifier of {own.workdir} has 10 of its 20 steps: finish it first, "
        f"python -m scoressl_jax.main --workdir={own.workdir} --mode=train_classifier"
    )
    shutil.rmtree(own.workdir / "checkpoints" / "score" / "20")
    assert "the score network of" in line(f"run:{own.workdir}")
