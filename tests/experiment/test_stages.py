"""The table of stages, and what follows from an entry of it."""

import dataclasses
import json

import pytest
from small import command

from scoressl_jax.experiment.config import FIELDS, default_config
from scoressl_jax.experiment.fields import POSITIVE, Field
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.machine import machine
from scoressl_jax.experiment.stages import Stage
from scoressl_jax.files import flat
from scoressl_jax.studies import kinds
from scoressl_jax.studies.moons import config as moons
from scoressl_jax.studies.moons.study import MOONS

KINDS = {"images": (IMAGES, default_config), "moons": (MOONS, moons.default_config)}
DATA_FIELDS = {  # they say which images and labels there are: the contents of these are compared in their place
    "images": {"data.name", "data.image_size", "data.fit", "data.background", "data.skip_damaged",
               "data.num_labels", "data.labels_file", "data.split_seed",
               "data.positive_classes", "data.num_positive"},
    "moons": {"data.name"},
}  # fmt: skip


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


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
        for config in configs:
            assert set(stage.parts(config)) <= {"images", "labels", "true_labels", "test", "classes"}
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
        "config.json", "results.json", "made.json", "made_on.json", "report.html", "command.txt"
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
    on = json.loads((own.workdir / "made_on.json").read_text())
    assert set(on) == {*NAMES} - {"report"}
    assert on["album"] == machine()
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
