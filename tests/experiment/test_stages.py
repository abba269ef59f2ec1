"""The table of stages: what follows from an entry, in which order, and how a finished run goes on for longer."""

import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image
from small import command

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.adopt import Changes, refuse_growth
from scoressl_jax.experiment.config import FIELDS, default_config
from scoressl_jax.experiment.fields import POSITIVE, Field
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Stage, Work
from scoressl_jax.files import flat
from scoressl_jax.studies import kinds
from scoressl_jax.studies.moons import config as moons
from scoressl_jax.studies.moons.study import MOONS
from scoressl_jax.training.metrics import read_metrics

KINDS = {"images": (IMAGES, default_config), "moons": (MOONS, moons.default_config)}
DATA_FIELDS = {  # they say which images and labels there are: the contents of these are compared in their place
    "images": {"data.name", "data.image_size", "data.num_labels", "data.labels_file", "data.split_seed",
               "data.positive_classes", "data.num_positive"},
    "moons": {"data.name"},
}  # fmt: skip


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def without_seconds(blocks):
    return {name: {key: value for key, value in block.items() if key != "seconds"} for name, block in blocks.items()}


# The table


def read_by(stage, fields):
    return {field for field in fields for name in stage.reads if field == name or field.startswith(f"{name}.")}


@pytest.mark.parametrize("name", KINDS)
def test_every_field_is_free_or_read_by_a_stage_or_says_what_the_data_are(name):
    kind = KINDS[name][0]
    fields = dict(flat(kind.fields))
    read = {field for stage in kind.stages for field in read_by(stage, fields)}
    free = {field for field, declared in fields.items() if declared.free}
    assert fields.keys() == read | free | DATA_FIELDS[name] | {"preset"}
    assert free == {
        "images": {"data.path", "data.download", "sampling.png", "evaluation.inception_weights",
                   "training.steps_per_call", "training.checkpoint_every", "training.max_rollbacks"},
        "moons": {"training.steps_per_call", "training.checkpoint_every", "training.max_rollbacks"},
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_a_stage_names_is_there(name):
    """Fields and blocks of fields, parts of the fingerprint, stages that come before it."""
    kind, config = KINDS[name][0], KINDS[name][1]()
    fields = dict(flat(kind.fields))
    names = [stage.name for stage in kind.stages]
    assert len(set(names)) == len(names)
    configs = [config]
    if name == "images":
        estimating, unguided = default_config(), default_config()
        estimating.regime, estimating.classifier.terms.prior, unguided.sampling.scale = "pu", 1.0, 0.0
        configs += [estimating, unguided]
    for place, stage in enumerate(kind.stages):
        for read in stage.reads:
            assert read_by(dataclasses.replace(stage, reads=(read,)), fields), f"{stage.name} reads no field by {read}"
        assert set(stage.data) <= {"images", "labels", "true_labels", "test", "classes"}
        for config in configs:
            assert {*stage.needs(config), *stage.uses} <= set(names[:place]), stage.name
        assert set(stage.beside) <= set(names)
        if stage.grows:
            assert stage.grows in read_by(stage, fields)
        assert stage.makes or stage.every_time


def test_stages_of_images_come_from_what_they_need():
    estimating = default_config()
    estimating.regime, estimating.classifier.terms.prior = "pu", 1.0
    before = lambda name, config: {s.name for s in IMAGES.before(IMAGES.stage(name), config)}  # noqa: E731
    halves = {"class_prior_0", "class_prior_1"}
    assert before("classifier", default_config()) == {"score"}
    assert before("classifier", estimating) == {"score", "class_prior", *halves}
    assert before("samples", default_config()) == {"score", "classifier"}
    unguided = default_config()
    unguided.sampling.scale = 0.0
    assert before("samples", unguided) == {"score"}
    assert before("pictures", default_config()) == before("cas", default_config()) == {"score", "classifier", "samples"}
    assert before("judge", default_config()) == before("score", default_config()) == set()
    assert before("evaluation", default_config()) == {"score", "classifier", "samples", "judge", "cas"}


# A made-up stage: one entry, and a block of fields beside it


def make_album(work):
    pages, images = work.config.album.pages, work.run.samples["images"]
    work.run.write("album.txt", f"{pages} pages of {len(images)} images, the first of {images[0].mean():.3f}\n")
    work.run.record(album={"pages": pages, "steps": 3, "seconds": 1.5})


ALBUM = Stage(
    name="album",
    mode="sample",
    run=make_album,
    needs=lambda config: ("samples",),
    reads=("album",),
    makes=("album.txt",),
    extent=lambda run: int((run.workdir / "album.txt").exists()),
    renewed=True,
    estimate=lambda work: f"{work.config.album.pages} pages, no time at all",
    needs_data=False,
)
NAMES = ["score", "classifier", "samples", "album", "judge", "cas", "evaluation", "report"]


@pytest.fixture
def album(monkeypatch):
    """The house with one more entry in its table."""
    monkeypatch.setitem(FIELDS, "album", dict(pages=Field(2, "of it", POSITIVE)))
    place = [stage.name for stage in IMAGES.stages].index("samples") + 1
    stages = (*IMAGES.stages[:place], ALBUM, *IMAGES.stages[place:])
    monkeypatch.setattr(kinds, "IMAGES", dataclasses.replace(IMAGES, stages=stages))


def said_stages(out):
    return [line for line in out.splitlines() if line.startswith("stage ")]


def test_one_entry_is_all_that_a_stage_takes(album, own, small_run, capfd, complaint, snapshot):
    before = snapshot(own.workdir)
    assert command(own.workdir) == 0, "the run is older than the stage"
    said = capfd.readouterr().out
    assert said_stages(said) == [f"stage {i} of 8: {name}" for i, name in enumerate(NAMES, 1)]
    text = (own.workdir / "album.txt").read_text()
    assert text.startswith("2 pages of 12 images")
    assert results(own.workdir)["album"] == {"pages": 2, "steps": 3, "seconds": 1.5}
    page = (own.workdir / "report.html").read_text()
    assert "<td>album</td><td>1.5</td><td>3</td>" in page.replace("\n", "")
    assert "album 2" in next(line for line in said.splitlines() if line.startswith("seconds"))
    after = snapshot(own.workdir)
    assert {name for name in before if after[name][0] != before[name][0]} <= {
        "config.json", "results.json", "made.json", "report.html", "command.txt"
    }  # fmt: skip

    # Finished: it is not done again, and neither are the others.
    assert command(own.workdir) == 0
    assert f"album: done, {own.workdir}/album.txt" in capfd.readouterr().out
    assert snapshot(own.workdir)["album.txt"] == after["album.txt"]

    # Its field is one more on which something depends, and is checked by its rule.
    line = complaint(own.workdir, "--config.album.pages=3")
    assert line.startswith("config.album.pages is 2 in the run")
    assert line.endswith("or delete album.txt there to do it again")
    assert complaint(own.workdir, "--config.album.pages=0") == "config.album.pages is 0: it must be greater than 0"
    assert "delete samples/samples.npz, album.txt, checkpoints/cas" in complaint(own.workdir, "--config.sampling.eta=1")

    # More samples, and it is made anew from them.
    assert command(own.workdir, "--config.sampling.count=14") == 0
    assert "of 14 images" in (own.workdir / "album.txt").read_text()
    made = json.loads((own.workdir / "made.json").read_text())["album"]
    assert made == {"score": 20, "classifier": 20, "samples": 14}


def test_a_made_up_stage_needs_what_it_says_and_is_asked_for_by_its_mode(album, own, complaint, capfd):
    (own.workdir / "samples" / "samples.npz").unlink()
    (own.workdir / "checkpoints" / "classifier").rename(own.workdir / "elsewhere")
    for name in ("evaluation.npz", "made.json"):
        (own.workdir / name).unlink()
    line = complaint(own.workdir, "--mode=sample")
    assert "stage classifier of" in line
    assert "--mode=train_classifier" in line
    (own.workdir / "elsewhere").rename(own.workdir / "checkpoints" / "classifier")
    assert command(own.workdir, "--mode=sample") == 0
    assert said_stages(capfd.readouterr().out) == []
    assert (own.workdir / "album.txt").exists()
    assert not (own.workdir / "evaluation.npz").exists()


def test_check_and_help_tell_of_a_made_up_stage(album, own, capfd):
    assert command(own.workdir.parent / "new", "--mode=check", path=own.path) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["data", "score", "classifier", "samples", "album", "judge", "cas"]
    assert lines[4].split(maxsplit=1)[1] == "2 pages, no time at all"
    assert command(own.workdir, "--help") == 0
    assert "--config.album.pages=2\n      of it [greater than 0]" in capfd.readouterr().out


# Training longer


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
    assert found.keys() == {"score", "classifier", "samples"}
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
