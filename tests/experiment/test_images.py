"""Stages of images: which samples are drawn, and that more of them are the same ones and more."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from small import command

from scoressl_jax.experiment import drawing
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.run import Run


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def without_seconds(blocks):
    return {name: {key: value for key, value in block.items() if key != "seconds"} for name, block in blocks.items()}


def samples(workdir):
    return Run(workdir).samples


def forget_samples(workdir):
    """As one who wants others to be drawn; what was made from them goes too."""
    for name in ("samples/samples.npz", "evaluation.npz"):
        (workdir / name).unlink()
    shutil.rmtree(workdir / "checkpoints" / "cas")


@pytest.fixture(scope="module")
def many(small_run, tmp_path_factory):
    """A run that drew 20 samples at once."""
    workdir = tmp_path_factory.mktemp("many") / "run"
    shutil.copytree(small_run / "run", workdir)
    forget_samples(workdir)
    assert command(workdir, "--config.sampling.count=20") == 0
    return workdir


def test_more_samples_are_those_that_there_were_and_more(own, small_run, many, capfd):
    assert command(own.workdir, "--config.sampling.count=20") == 0
    said = capfd.readouterr().out
    for stage in ("score", "classifier", "judge"):
        assert f"{stage}: done, {own.workdir}/checkpoints/{stage}" in said
    found = samples(own.workdir)
    assert found["images"].shape == (20, 8, 8, 1)
    np.testing.assert_array_equal(found["images"][:12], samples(small_run / "run")["images"])
    for name, array in samples(many).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)
    assert without_seconds(results(own.workdir)) == without_seconds(results(many))
    assert "fid@20" in results(own.workdir)["generation"]
    evaluations = [Run(workdir).evaluation for workdir in (own.workdir, many)]
    assert evaluations[0].keys() == evaluations[1].keys()
    for name, array in evaluations[1].items():
        np.testing.assert_array_equal(evaluations[0][name], array, err_msg=name, strict=True)


def test_only_the_new_ones_are_drawn(own, monkeypatch):
    drawn = []

    def generate(make_sample, parameters, conditions, *, first, **rest):
        drawn.append((first, conditions["labels"].tolist()))
        return np.full((len(conditions["labels"]) - first, 8, 8, 1), 7, np.uint8)

    monkeypatch.setattr(drawing, "generate", generate)
    before = samples(own.workdir)["images"]
    assert command(own.workdir, "--config.sampling.count=15", "--mode=sample") == 0
    assert drawn == [(12, [0, 1, 2] * 5)]
    found = samples(own.workdir)["images"]
    np.testing.assert_array_equal(found[:12], before)
    assert (found[12:] == 7).all()
    assert results(own.workdir)["samples"]["count"] == 15
    assert "generation" not in results(own.workdir), "its names hold another count"
    assert not (own.workdir / "evaluation.npz").exists()


def test_more_samples_of_a_classifier_that_was_trained_on_are_all_drawn_anew(own, many):
    """The first ones would be of the classifier that there was."""
    assert command(own.workdir, "--config.sampling.count=20", "--config.classifier.steps=30", "--mode=sample") == 2
    assert command(own.workdir, "--config.sampling.count=20", "--config.classifier.steps=30") == 0
    once = own.workdir.with_name("once")
    shutil.copytree(own.workdir, once)
    forget_samples(once)
    assert command(once) == 0
    np.testing.assert_array_equal(samples(own.workdir)["images"], samples(once)["images"])
    assert (samples(own.workdir)["images"] != samples(many)["images"]).any()


def test_labels_that_do_not_begin_with_those_that_were_drawn(own):
    run = Run(own.workdir)
    for labels, kept in (
        (np.arange(15) % 3, 12),
        (np.arange(12) % 3, 0),  # the same again: something has made them stale
        (np.arange(9) % 3, 0),
        ((np.arange(15) + 1) % 3, 0),
    ):
        assert len(drawing.kept_samples(run, labels)) == kept
    assert len(drawing.kept_samples(Run(own.workdir / "nothing"), np.arange(3))) == 0


def test_classes_by_name_and_how_many_of_each(own, complaint):
    forget_samples(own.workdir)
    flags = ("--config.sampling.classes=('2','0')", "--config.sampling.per_class=(3,1)")
    assert command(own.workdir, *flags, "--mode=sample") == 0
    assert samples(own.workdir)["labels"].tolist() == [2, 0, 2, 2]
    assert samples(own.workdir)["images"].shape == (4, 8, 8, 1)
    assert results(own.workdir)["samples"]["count"] == 4
    line = complaint(own.workdir, "--config.sampling.per_class=(3,2)", "--mode=sample")
    assert line.startswith("config.sampling.per_class is [3, 1] in the run")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.sampling.classes=('2','9')"], "there is no class '9'; choose among 0, 1, 2"),
        (["--config.sampling.per_class=(3,1)"], "config.sampling.per_class has 2 numbers for 3 classes (0, 1, 2)"),
    ],
)
@pytest.mark.parametrize("mode", ["run", "sample"])
def test_classes_that_there_are_not(mode, flags, words, own, complaint):
    forget_samples(own.workdir)
    assert words in complaint(own.workdir, *flags, f"--mode={mode}")


def test_samples_as_files(own):
    (own.workdir / "samples" / "png" / "7").mkdir(parents=True)
    stale = own.workdir / "samples" / "png" / "7" / "00000.png"
    stale.write_bytes(b"")
    assert command(own.workdir, "--config.sampling.png=True", "--mode=sample") == 0
    found = samples(own.workdir)
    files = {str(path.relative_to(own.workdir / "samples" / "png")) for path in own.workdir.glob("samples/png/*/*")}
    assert files == {f"{label}/{i:05}.png" for i, label in enumerate(found["labels"])}
    for i, label in enumerate(found["labels"]):
        picture = np.asarray(Image.open(own.workdir / "samples" / "png" / str(label) / f"{i:05}.png"))
        np.testing.assert_array_equal(picture, found["images"][i, ..., 0], strict=True)
    assert command(own.workdir, "--config.sampling.count=14") == 0, "the field stays, and the files follow"
    assert len(list(own.workdir.glob("samples/png/*/*.png"))) == 14


def test_files_of_colours_and_of_names_with_slashes(tmp_path):
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    drawing.save_pngs(drawn, ["on/off", "b", "on/off"], tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == [
        "b/00001.png", "on_off/00000.png", "on_off/00002.png"
    ]  # fmt: skip
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "on_off" / "00002.png")), drawn[2])


def test_what_is_said_of_samples():
    plan = default_config().sampling
    plan.update(scale=2.0, steps=7)
    block = drawing.sample_block(plan, 11, 3.14159)
    assert block == {"count": 11, "sampler": "dpm_solver", "steps": 7, "calls": 7, "scale": 2.0, "seconds": 3.1}
    plan.update(sampler="predictor_corrector", corrector="langevin", corrector_steps=2, task="inpainting")
    block = drawing.sample_block(plan, 11, 3.0)
    assert block["sampler"] == "reverse_diffusion+langevin"
    assert (block["steps"], block["calls"], block["task"]) == (7, 21, "inpainting")
    plan.update(sampler="ode", task="none")
    assert drawing.sample_block(plan, 11, 3.0) == {"count": 11, "sampler": "ode", "scale": 2.0, "seconds": 3.0}
