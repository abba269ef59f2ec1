"""Training longer than a finished run was asked to: it goes on, or the line says why not."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from small import command

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.adopt import Changes, refuse_growth
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work
from scoressl_jax.studies.moons import config as moons
from scoressl_jax.studies.moons.study import MOONS
from scoressl_jax.training.metrics import read_metrics


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def without_seconds(blocks):
    return {name: {key: value for key, value in block.items() if key != "seconds"} for name, block in blocks.items()}


def assert_same_stage(one, other, stage, step, restored):
    states = [restored(workdir, stage, step) for workdir in (one, other)]
    assert states[0].keys() == states[1].keys()
    assert any("opt_state" in name for name in states[0])
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name, strict=True)


def assert_same_arrays(one, other, name):
    found = [Run(workdir).arrays(name) for workdir in (one, other)]
    assert found[0].keys() == found[1].keys() != set()
    for key in found[0]:
        np.testing.assert_array_equal(found[0][key], found[1][key], err_msg=key, strict=True)


@pytest.fixture(scope="module")
def longer(small_run, tmp_path_factory):
    """Runs from nothing of 30 steps: of the classifier, of both networks."""
    folder, path = tmp_path_factory.mktemp("longer"), small_run / "own.npz"
    assert command(folder / "classifier", "--config.classifier.steps=30", path=path) == 0
    assert command(folder / "score", "--config.score.steps=30", "--mode=train_score", path=path) == 0
    return folder


def test_a_classifier_is_trained_on_and_what_was_made_with_it_is_made_anew(own, small_run, longer, restored, capfd):
    assert command(own.workdir, "--config.sampling.png=True") == 0
    rows = read_metrics(own.workdir)
    capfd.readouterr()
    assert command(own.workdir, "--config.classifier.steps=30") == 0
    said = capfd.readouterr().out
    for stage in ("score", "judge"):
        assert f"{stage}: done, {own.workdir}/checkpoints/{stage}" in said
    for stage in ("classifier", "samples", "pictures", "cas", "evaluation"):
        assert f"{stage}: done" not in said
    assert_same_stage(own.workdir, longer / "classifier", "classifier", 30, restored)
    assert_same_stage(own.workdir, longer / "classifier", "cas", 4, restored)
    for name in ("samples", "evaluation"):
        assert_same_arrays(own.workdir, longer / "classifier", name)
    assert without_seconds(results(own.workdir)) == without_seconds(results(longer / "classifier"))
    assert (Run(own.workdir).samples["images"] != Run(small_run / "run").samples["images"]).any()
    of_classifier = [row for row in read_metrics(own.workdir) if row["stage"] == "classifier"]
    assert of_classifier[:2] == [row for row in rows if row["stage"] == "classifier"], "it went on from step 20"
    assert [row["step"] for row in of_classifier] == [10, 20, 30]
    pictured = sorted((own.workdir / "samples" / "png").glob("*/*.png"), key=lambda path: path.stem)
    for path, image in zip(pictured, Run(own.workdir).samples["images"], strict=True):
        assert path.read_bytes() == png(image)
    assert not list(own.workdir.glob("replaced-*"))


def png(image):
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "png")
    return file.getvalue()


def test_stage_by_stage_nothing_is_shown_that_was_measured_before(own, longer, complaint):
    assert command(own.workdir, "--config.classifier.steps=30", "--mode=train_classifier") == 0
    assert not (own.workdir / "evaluation.npz").exists()
    found = results(own.workdir)
    assert found.keys() == {"score", "classifier", "samples", "judge", "cas"}
    assert found["cas"].keys() == {"parameters", "steps", "loss", "seconds"}
    assert found["classifier"].keys() == {"kind", "parameters", "steps", "loss", "seconds"}
    assert found["classifier"]["steps"] == 30
    assert not {"class_agreement", "judge_accuracy", "nearest_distance"} & found["samples"].keys()
    for mode in ("sample", "evaluate", "report"):
        assert command(own.workdir, f"--mode={mode}") == 0
    assert without_seconds(results(own.workdir)) == without_seconds(results(longer / "classifier"))
    assert_same_arrays(own.workdir, longer / "classifier", "samples")


def test_a_score_network_is_trained_on_where_nothing_was_made_with_it(small_run, longer, restored, tmp_path):
    path, workdir = small_run / "own.npz", tmp_path / "run"
    for steps in (20, 30):
        assert command(workdir, f"--config.score.steps={steps}", "--mode=train_score", path=path) == 0
    assert_same_stage(workdir, longer / "score", "score", 30, restored)
    assert results(workdir)["score"]["steps"] == 30
    assert [row["step"] for row in read_metrics(workdir)] == [10, 20, 30]


def test_a_score_network_below_a_trained_classifier_is_not_trained_on(own, complaint, snapshot):
    before = snapshot(own.workdir)
    line = complaint(own.workdir, "--config.score.steps=30")
    assert line == (
        f"config.score.steps is 20 in the run {own.workdir} and 30 now: score can be trained on, but classifier was "
        "made with it as it is: keep 20, delete checkpoints/classifier there, or take a new --workdir that begins "
        f"with its weights, --config.score.init_from=run:{own.workdir} --config.score.warm_start=True"
    )
    assert snapshot(own.workdir) == before


@pytest.mark.parametrize("field", ["score.steps", "classifier.steps", "sampling.count"])
def test_less_is_refused(field, small_run, complaint):
    line = complaint(small_run / "run", f"--config.{field}=10")
    assert line.startswith(f"config.{field} is {12 if field == 'sampling.count' else 20} in the run")
    assert "and 10 now, which would change what is done: keep" in line
    assert "delete " in line


def test_a_schedule_that_has_run_to_its_end_says_so_and_names_the_warm_start(own, complaint, snapshot):
    config = json.loads((own.workdir / "config.json").read_text())
    config["score"]["schedule"] = config["classifier"]["schedule"] = "cosine"
    (own.workdir / "config.json").write_text(json.dumps(config))
    before = snapshot(own.workdir)
    for stage, more in (("score", " --config.score.warm_start=True"), ("classifier", "")):
        line = complaint(own.workdir, f"--config.{stage}.steps=30")
        assert line == (
            f"config.{stage}.steps is 20 in the run {own.workdir} and 30 now, but {stage} cannot be trained on: its "
            "cosine schedule has run to its end; keep 20, or take a new --workdir that begins with its weights, "
            f"--config.{stage}.init_from=run:{own.workdir}{more}"
        )
    assert snapshot(own.workdir) == before


def test_of_the_moons_a_new_run_is_all_there_is(tmp_path):
    """Their networks cannot begin with another run's weights, and the line does not say that they could."""
    work = Work(MOONS, Run(tmp_path), type("Study", (), {"config": moons.default_config()}))
    with pytest.raises(UserError, match=r"cosine schedule has run to its end; keep 2500, or take a new --workdir$"):
        refuse_growth(work, MOONS.stage("score"), Changes({"score.steps": (2500, 3000)}, ()))
