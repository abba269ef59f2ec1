"""Going on with a run under another config or other data: what is refused, what is done afresh, what goes on."""

import json
import os
import shutil

import numpy as np
import pytest
from small import command, stripes

from scoressl_jax.errors import Interrupted
from scoressl_jax.experiment.adopt import changes
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.training.metrics import read_metrics

ALL_DATA = ("images", "labels", "true_labels", "test", "classes")


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def extents(workdir):
    """{stage: how much of it there is} of a run's directory."""
    run = Run(workdir)
    return {stage.name: stage.extent(run) for stage in IMAGES.stages if stage.extent(run)}


def averages(workdir, stage):
    return Run(workdir).params(stage)


def assert_equal(one, other):
    for name, array in one.items():
        if isinstance(array, dict):
            assert_equal(array, other[name])
        else:
            np.testing.assert_array_equal(array, other[name], err_msg=name, strict=True)
    assert one.keys() == other.keys()


FINISHED = {"score": 20, "classifier": 20, "samples": 12, "judge": 4, "cas": 4, "evaluation": 1}


def test_what_the_shared_run_holds(small_run):
    assert extents(small_run / "run") == FINISHED
    trained = {"score", "classifier", "samples", "judge", "cas"}
    assert results(small_run / "run").keys() == {*trained, "evaluation", "generation", "data"}
    facts = json.loads((small_run / "run" / "data.json").read_text())
    assert facts["fingerprint"].keys() == set(ALL_DATA)
    told = {name: value for name, value in facts.items() if name not in ("class_names", "image_shape")}
    assert results(small_run / "run")["data"] == told, "the data that were measured on"


# Other data


def change(path, **parts):
    with np.load(path) as file:
        arrays = dict(file) | parts
    np.savez(path, **arrays)


def other_images():
    return stripes(seed=1)["x_train"]


def brighter_test():
    return np.maximum(stripes()["x_test"], 5)


DIFFERENT = {  # change of the data: words of the line, and the mode that it names
    "images": (
        lambda path: change(path, x_train=other_images()),
        ["other training images than then", "do it afresh with --mode=train_score"],
    ),
    "fewer images": (
        lambda path: change(path, x_train=stripes()["x_train"][:50], y_train=stripes()["y_train"][:50]),
        ["50 training images now, 60 then", "do it afresh with --mode=train_score"],
    ),
    "labels": (
        lambda path: change(path, y_train=np.roll(stripes()["y_train"], 1)),
        ["other labels than then", "do it afresh above score, still valid, with --mode=train_classifier"],
    ),
    "test": (
        lambda path: change(path, x_test=brighter_test()),
        ["other test images than then", "do it afresh above score and classifier and judge and cas, still valid, with "
                                        "--mode=evaluate"],
    ),
    "labels of the test images": (
        lambda path: change(path, y_test=stripes()["y_test"][::-1]),
        ["other test images than then", "with --mode=evaluate"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_other_data_under_a_finished_run_are_refused_and_nothing_is_lost(what, own, complaint, snapshot):
    alter, words = DIFFERENT[what]
    alter(own.path)
    before = snapshot(own.workdir)
    for flags in ((), ("--mode=train_score",) if "train_score" not in words[1] else ("--mode=evaluate",)):
        line = complaint(own.workdir, *flags, path=own.path)
        assert line.startswith(f"the data are not those that the run {own.workdir} was made with ({words[0]}")
        assert "put them back, take a new --workdir, or do it afresh" in line
        for word in words:
            assert word in line
        assert snapshot(own.workdir) == before
    assert command(own.workdir, "--mode=report") == 0, "the page needs no data"
    assert json.loads((own.workdir / "data.json").read_text()) == json.loads(before["data.json"][0])


def test_restored_test_images_are_of_the_test_images(own, complaint):
    for name in ("samples/samples.npz", "evaluation.npz"):
        (own.workdir / name).unlink()
    shutil.rmtree(own.workdir / "checkpoints" / "cas")
    flags = ("--config.sampling.task=inpainting", "--config.evaluation.features=none")
    assert command(own.workdir, *flags) == 0
    change(own.path, x_test=brighter_test())
    line = complaint(own.workdir, *flags, "--mode=evaluate", path=own.path)
    assert "(other test images than then): put them back" in line
    assert line.endswith("or delete samples/samples.npz, evaluation.npz there to do it again")


def test_a_remedy_is_one_that_looks_at_the_data(own, complaint):
    """--mode=sample does not: it would find the samples done."""
    facts = json.loads((own.workdir / "data.json").read_text())
    facts["fingerprint"]["classes"] = "as they were called then"
    (own.workdir / "data.json").write_text(json.dumps(facts))
    line = complaint(own.workdir)
    assert "(other classes than then): put them back" in line
    assert line.endswith("or delete samples/samples.npz, checkpoints/cas, evaluation.npz there to do it again")
    for name in ("samples/samples.npz", "evaluation.npz"):
        (own.workdir / name).unlink()
    shutil.rmtree(own.workdir / "checkpoints" / "cas")
    assert command(own.workdir) == 0


def test_another_budget_of_labels_is_named(own, complaint):
    line = complaint(own.workdir, "--config.data.num_labels=45", path=own.path)
    assert "(45 labels now, 30 then; config.data.num_labels is 45, was 30)" in line
    line = complaint(own.workdir, "--config.data.split_seed=1", path=own.path)
    assert "(other labels than then; config.data.split_seed is 1, was 0)" in line


def test_other_data_and_another_field_are_both_named(own, complaint):
    flags = ("--config.data.num_labels=45", "--config.classifier.tau=0.02", "--mode=train_classifier")
    line = complaint(own.workdir, *flags, path=own.path)
    assert "45 labels now, 30 then; config.data.num_labels is 45, was 30; config.classifier.tau is 0.02" in line
    assert "or delete checkpoints/classifier, samples/samples.npz, checkpoints/cas, evaluation.npz there" in line
    change(own.path, x_test=brighter_test())
    line = complaint(own.workdir, "--config.sampling.eta=0.5", "--mode=evaluate", path=own.path)
    assert "other test images than then; config.sampling.eta is 0.5, was 0.0" in line


def test_only_what_bears_on_what_is_made_is_told(own, complaint):
    """The test images of a run that has measured nothing are of no weight."""
    (own.workdir / "evaluation.npz").unlink()
    change(own.path, x_test=brighter_test())
    line = complaint(own.workdir, "--config.sampling.eta=0.5", path=own.path)
    assert line.startswith("config.sampling.eta is 0.0 in the run")


def test_labels_added_train_a_classifier_afresh_above_the_same_score_network(own, small_run, capfd, snapshot):
    flags, first = ("--config.data.num_labels=45", "--mode=train_classifier"), small_run / "run"
    score = snapshot(own.workdir / "checkpoints" / "score")
    assert command(own.workdir, *flags, path=own.path) == 0
    said = capfd.readouterr().out
    kept = own.workdir / "replaced-1"
    told = "45 labels now, 30 then: classifier, samples, cas, evaluation afresh"
    assert f"{told}; what was there is kept in {kept}\n" in said
    assert snapshot(own.workdir / "checkpoints" / "score") == score
    assert extents(own.workdir) == {"score": 20, "classifier": 20, "judge": 4}
    assert (averages(own.workdir, "classifier")["params"]["Dense_0"]["kernel"] != averages(first, "classifier")[
        "params"]["Dense_0"]["kernel"]).any()  # fmt: skip

    # Nothing is lost, and nothing that was measured before is shown.
    assert extents(kept) == {name: FINISHED[name] for name in ("classifier", "samples", "cas", "evaluation")}
    assert_equal(averages(kept, "classifier"), averages(first, "classifier"))
    assert_equal(Run(kept).samples, Run(first).samples)
    for name in ("config.json", "data.json", "labels.json", "results.json", "report.html"):
        assert (kept / name).read_bytes() == (first / name).read_bytes(), name
    assert results(own.workdir).keys() == {"score", "classifier", "judge"}
    assert results(own.workdir)["score"] == results(first)["score"]
    assert results(own.workdir)["classifier"].keys() == {"kind", "parameters", "steps", "loss", "seconds"}
    assert Run(own.workdir).made.keys() == {"score", "judge", "classifier"}
    assert len(Run(own.workdir).labels["labeled"]) == Run(own.workdir).data["num_labeled"] == 45
    rows = [row for row in read_metrics(own.workdir) if row["stage"] == "classifier"]
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[-1]["loss"] == results(own.workdir)["classifier"]["loss"] != results(first)["classifier"]["loss"]

    # The whole run then is that of the larger budget, made from nothing; and a third budget is kept apart.
    assert command(own.workdir) == 0
    alone = own.workdir.parent / "alone"
    assert command(alone, "--config.data.num_labels=45", path=own.path) == 0
    for stage in ("score", "classifier", "judge", "cas"):
        assert_equal(averages(own.workdir, stage), averages(alone, stage))
    assert_equal(Run(own.workdir).samples, Run(alone).samples)
    assert_equal(Run(own.workdir).evaluation, Run(alone).evaluation)
    assert without_seconds(results(own.workdir)) == without_seconds(results(alone))
    assert results(own.workdir)["data"]["num_labeled"] == 45
    assert command(own.workdir, "--config.data.num_labels=48", "--mode=train_classifier") == 0
    assert Run(own.workdir / "replaced-2").data["num_labeled"] == 45
    assert Run(kept).data["num_labeled"] == 30


def without_seconds(blocks):
    return {name: {key: value for key, value in block.items() if key != "seconds"} for name, block in blocks.items()}


def test_stopped_before_the_new_classifier_is_trained_nothing_old_is_shown(own, monkeypatch):
    def stopped(run, job, stop):
        raise Interrupted("stopped")

    monkeypatch.setattr(Run, "train", stopped)
    assert command(own.workdir, "--config.data.num_labels=45", "--mode=train_classifier", path=own.path) == 75
    assert results(own.workdir).keys() == {"score", "judge"}
    assert Run(own.workdir).data["num_labeled"] == 45
    assert Run(own.workdir / "replaced-1").data["num_labeled"] == 30


def test_labels_added_to_images_that_had_none(small_run, tmp_path, complaint):
    """Here the file itself holds more labels; there is no judge, which needs them all."""
    path, workdir = tmp_path / "own.npz", tmp_path / "run"
    np.savez(path, **stripes(labels=30))
    assert command(workdir, "--config.data.num_labels=0", "--config.evaluation.features=none", path=path) == 0
    made = extents(workdir)
    assert made == {name: extent for name, extent in FINISHED.items() if name not in ("judge", "cas")}
    np.savez(path, **stripes(labels=45))
    line = complaint(workdir)
    assert "45 labels now, 30 then" in line
    assert "above score, still valid, with --mode=train_classifier" in line
    assert command(workdir, "--mode=train_classifier") == 0
    assert command(workdir) == 0
    assert extents(workdir) == made
    assert results(workdir)["data"]["num_labeled"] == 45
    assert results(workdir)["data"]["fingerprint"] == Run(workdir).data["fingerprint"]


def test_other_test_images_are_measured_anew(own, small_run):
    change(own.path, x_test=brighter_test())
    assert command(own.workdir, "--mode=evaluate", path=own.path) == 0
    assert extents(own.workdir) == FINISHED
    found, before = results(own.workdir), results(small_run / "run")
    assert found["data"]["fingerprint"]["test"] != before["data"]["fingerprint"]["test"]
    assert found["data"]["fingerprint"]["images"] == before["data"]["fingerprint"]["images"]
    assert Run(own.workdir / "replaced-1").has("evaluation.npz", "results.json", "samples", "checkpoints") == [
        "evaluation.npz", "results.json"
    ]  # fmt: skip


def test_touching_copying_and_reordering_change_nothing(own, snapshot, capfd):
    files = ("checkpoints", "samples", "evaluation.npz", "results.json", "data.json", "made.json", "metrics.jsonl")

    def take():
        return {name: content for name, (content, _) in snapshot(own.workdir).items() if name.startswith(files)}

    before = take()
    os.utime(own.path, (1e9, 1e9))
    assert command(own.workdir, path=own.path) == 0
    assert take() == before

    shutil.copytree(own.workdir, own.workdir.with_name("copy"))
    (own.path.parent / "elsewhere").mkdir()
    moved = shutil.move(own.path, own.path.parent / "elsewhere")
    own.workdir = own.workdir.with_name("copy")
    assert command(own.workdir, path=moved) == 0
    assert take() == before

    # All labels are in the file now, so that the budget draws none by their order.
    order = np.random.default_rng(0).permutation(60)
    arrays = stripes(labels=30)
    np.savez(own.path, **arrays)
    own.workdir = own.workdir.with_name("reordered")
    flags = ("--config.data.num_labels=0", "--config.evaluation.features=none")
    assert command(own.workdir, *flags, path=own.path) == 0
    before, modes = take(), capfd.readouterr()
    change(own.path, x_train=arrays["x_train"][order], y_train=arrays["y_train"][order])
    change(own.path, x_test=arrays["x_test"][::-1], y_test=arrays["y_test"][::-1])
    assert command(own.workdir) == 0
    assert take() == before
    assert modes.err == ""


def test_a_run_of_format_1_has_counts_alone_to_tell_other_data_by(own, complaint):
    for name in ("data.json", "made.json"):
        (own.workdir / name).unlink()
    config = json.loads((own.workdir / "config.json").read_text())
    assert config.pop("format") == 2
    (own.workdir / "config.json").write_text(json.dumps(config))
    facts = results(own.workdir)
    del facts["data"]["fingerprint"]
    (own.workdir / "results.json").write_text(json.dumps(facts))
    assert "(45 labels now, 30 then; config.data.num_labels" in complaint(own.workdir, "--config.data.num_labels=45")
    assert Run(own.workdir).format == 1
    assert command(own.workdir) == 0
    assert Run(own.workdir).format == 2
    assert Run(own.workdir).data["fingerprint"].keys() == set(ALL_DATA)
    assert extents(own.workdir) == FINISHED
    assert Run(own.workdir).made["evaluation"] == {"score": 20, "classifier": 20, "samples": 12, "judge": 4, "cas": 4}


@pytest.mark.parametrize(
    ("source", "names", "parts"),
    [
        ("folder", ["2", "10"], ("classes", "labels")),
        ("folder", ["0", "1"], ()),
        ("folder", ["cat", "dog"], ()),
        ("npz", ["2", "10"], ()),
    ],
)
def test_folders_called_by_numbers_are_in_another_order_than_in_runs_of_format_1(source, names, parts):
    config = {"data": {"name": source, "path": "there"}}
    facts = {"class_names": names, "fingerprint": dict.fromkeys(ALL_DATA, "x")}
    found = changes(IMAGES, config, config, {}, facts, labeled=[None, None])
    assert (found.fields, found.parts) == ({}, parts)
    known = {"fingerprint": dict.fromkeys(ALL_DATA, "x")}
    assert changes(IMAGES, config, config, known, facts, labeled=[None, None]).parts == ()


# Other fields


@pytest.mark.parametrize(
    ("flag", "made"),
    [
        ("score.learning_rate=0.5", "checkpoints/score, checkpoints/classifier, samples/samples.npz, checkpoints/cas, "
                                    "evaluation.npz"),
        ("classifier.tau=0.5", "checkpoints/classifier, samples/samples.npz, checkpoints/cas, evaluation.npz"),
        ("classifier.random_shift=1", "checkpoints/classifier, samples/samples.npz, checkpoints/judge, "
                                      "checkpoints/cas, evaluation.npz"),
        ("sampling.scale=3.0", "samples/samples.npz, checkpoints/cas, evaluation.npz"),
        ("evaluation.judge_depth=10", "checkpoints/judge, checkpoints/cas, evaluation.npz"),
        ("evaluation.judge_steps=5", "checkpoints/judge, evaluation.npz"),
        ("evaluation.cas_steps=5", "checkpoints/cas, evaluation.npz"),
        ("evaluation.times=3", "evaluation.npz"),
    ],
)  # fmt: skip
def test_a_change_asks_to_delete_what_depends_on_it_and_nothing_else(flag, made, small_run, complaint, snapshot):
    workdir = small_run / "run"
    before, name = snapshot(workdir), flag.split("=")[0]
    line = complaint(workdir, f"--config.{flag}")
    assert line.startswith(f"config.{name} is ")
    assert line.endswith(f"take a new --workdir, or delete {made} there to do it again")
    assert snapshot(workdir) == before


def test_a_field_that_the_run_did_not_know_is_no_change(own, complaint):
    """It is newer than the run, which had what all runs had before it."""
    config = json.loads((own.workdir / "config.json").read_text())
    del config["score"]["random_flip"], config["classifier"]["init_from"], config["sampling"]["classes"]
    (own.workdir / "config.json").write_text(json.dumps(config))
    assert complaint(own.workdir, "--config.seed=3").startswith("config.seed is 0 in the run")
    assert complaint(own.workdir, "--config.score.random_flip=True").startswith("config.score.random_flip is False in")
    assert command(own.workdir) == 0
    assert extents(own.workdir) == FINISHED
    config["sampling"]["sampler"] = "predictor_corrector"  # what runs had that are older than this field
    (own.workdir / "config.json").write_text(json.dumps(config))
    line = complaint(own.workdir, path=own.path)
    assert line.startswith("config.sampling.sampler is 'predictor_corrector' in the run")
    del config["sampling"]["sampler"]
    (own.workdir / "config.json").write_text(json.dumps(config))
    assert complaint(own.workdir, path=own.path) == line


@pytest.mark.parametrize("flag", ["steps_per_call=5", "checkpoint_every=7", "max_rollbacks=2"])
def test_free_fields_may_change(flag, own):
    before = results(own.workdir)
    assert command(own.workdir, f"--config.training.{flag}") == 0
    assert results(own.workdir) == before
    name, value = flag.split("=")
    assert str(Run(own.workdir).config["training"][name]) == value


def test_a_field_that_is_changed_and_one_that_grows_name_the_first(own, complaint):
    for flag in ("classifier.tau=0.5", "evaluation.times=3"):
        line = complaint(own.workdir, "--config.classifier.steps=30", "--config.sampling.count=14", f"--config.{flag}")
        assert line.startswith(f"config.{flag.split('=')[0]} is ")


def test_what_is_no_longer_part_of_the_experiment_is_moved_aside(own, capfd):
    """A judge that is not asked for hinders no change of its fields, and does not come back under them."""
    (own.workdir / "evaluation.npz").unlink()
    assert command(own.workdir, "--config.evaluation.judge_steps=0", "--config.evaluation.times=3") == 0
    assert "judge: no part of the experiment any more; what was there is kept in" in capfd.readouterr().out
    assert extents(own.workdir) == {name: extent for name, extent in FINISHED.items() if name != "judge"}
    assert Run(own.workdir / "replaced-1").has("checkpoints/judge")
    assert "class_agreement" not in results(own.workdir)["samples"]


def test_check_says_what_the_run_that_is_there_would_refuse_and_changes_nothing(own, complaint, snapshot, monkeypatch):
    (own.workdir / "evaluation.npz").unlink()  # so that the judge might be moved aside
    before = snapshot(own.workdir)
    monkeypatch.setattr("scoressl_jax.experiment.estimate.check", lambda *_: None)
    assert command(own.workdir, "--mode=check", "--config.evaluation.judge_steps=0", path=own.path) == 0
    line = complaint(own.workdir, "--mode=check", "--config.score.warmup=7", path=own.path)
    assert line.startswith("config.score.warmup is 5 in the run ")
    np.savez(own.path, **stripes(labels=40))
    assert "the data are not those that the run" in complaint(own.workdir, "--mode=check", path=own.path)
    assert snapshot(own.workdir) == before
