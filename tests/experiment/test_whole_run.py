"""A whole run as a process: its files, its stages one by one, and that a finished one is left as it is."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from small import command

from scoressl_jax.experiment.run import Run
from scoressl_jax.training.metrics import read_metrics

STAGES = ("train_score", "train_classifier", "sample", "evaluate", "report")
# Runs main() once a mode in one process, for speed: nothing but files is carried from one to the next.
MODE_BY_MODE = "import sys; from scoressl_jax.main import main; print([main([*sys.argv[1:], m]) for m in %r])"
LAST_STEP = 400


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_files_of_a_run(first_run):
    workdir, outcome = first_run
    config = json.loads((workdir / "config.json").read_text())
    assert (config["score"]["steps"], config["score"]["network"], config["data"]["num_labels"]) == (400, "mlp", 100)
    rows = read_metrics(workdir)
    for stage in ("score", "classifier"):
        assert [row["step"] for row in rows if row["stage"] == stage] == list(range(10, LAST_STEP + 1, 10))
        assert list((workdir / "logs" / stage).glob("events.out.tfevents.*"))
        steps = {int(path.name) for path in (workdir / "checkpoints" / stage).iterdir()}
        assert {350, 400} <= steps
        assert len(steps) <= 3
    with np.load(workdir / "samples" / "samples.npz") as samples:
        assert (samples["images"].shape, samples["images"].dtype) == ((20, 8, 8, 1), np.uint8)
        np.testing.assert_array_equal(samples["labels"], np.arange(20, dtype=np.int32) % 10, strict=True)
        assert samples["images"].std() > 10
    for picture in (workdir / "samples" / "grid.png", workdir / "figures" / "accuracy_by_noise.png"):
        Image.open(picture).verify()
    labels = json.loads((workdir / "labels.json").read_text())
    assert len(set(labels["labeled"])) == 100
    assert "<html" in (workdir / "report.html").read_text()
    command = (workdir / "command.txt").read_text()
    assert command.startswith("python -m scoressl_jax.main --config=digits_ssl_da --config.")
    assert command.endswith(f" --workdir={workdir}\n")
    assert "--config.score.steps=400" in command
    assert outcome.err == ""
    assert not list(workdir.rglob(".*.part"))
    assert outcome.out.startswith("digits: 1437 training images (8, 8, 1), 100 labelled, 1337 unlabelled, 360 test ")
    plan = ["score", "classifier", "samples", "evaluation", "report"]
    told = [line for line in outcome.out.splitlines() if line.startswith("stage ")]
    assert told == [f"stage {number} of 5: {name}" for number, name in enumerate(plan, 1)]
    made = json.loads((workdir / "made.json").read_text())
    assert made["evaluation"] == {"score": 400, "classifier": 400, "samples": 20, "judge": 0, "cas": 0}
    facts = json.loads((workdir / "data.json").read_text())
    assert (facts["class_names"], facts["image_shape"]) == ([str(digit) for digit in range(10)], [8, 8, 1])


def test_results(first_run):
    found = results(first_run[0])
    facts = json.loads((first_run[0] / "data.json").read_text())
    assert found["data"].pop("fingerprint") == facts["fingerprint"]
    assert found["data"] == {
        "name": "digits", "num_classes": 10, "num_train": 1437, "num_labeled": 100, "num_unlabeled": 1337,
        "num_hidden": 1337, "num_test": 360,
    }  # fmt: skip
    assert found["score"]["steps"] == found["classifier"]["steps"] == LAST_STEP
    assert found["score"].keys() == {"parameters", "steps", "loss", "seconds"}
    classifier = found["classifier"]
    assert classifier["kind"] == "denoising_assisted"
    assert 0.5 < classifier["accuracy"] <= 1, "400 steps on 100 labels go well beyond guessing"
    assert 0.1 < classifier["accuracy_all_noise"] < classifier["accuracy"]
    assert classifier["accuracy_t"] == 0.001
    curve = classifier["accuracy_by_noise"]
    assert [row["t"] for row in curve] == pytest.approx([0.001, 0.5005, 1.0])
    assert [row["sigma"] for row in curve] == pytest.approx([0.01007, 0.31732, 10.0], rel=1e-3)
    accuracy = [row["accuracy"] for row in curve]
    assert classifier["accuracy_area"] == pytest.approx((accuracy[0] / 2 + accuracy[1] + accuracy[2] / 2) / 2)
    assert 0 <= classifier["ece"] < 1
    assert len(classifier["per_class"]) == 10
    assert "f1" not in classifier, "absent means not measured"
    samples = found["samples"]
    assert (samples["count"], samples["sampler"], samples["steps"]) == (20, "reverse_diffusion+langevin", 4)
    assert "class_agreement" not in samples
    assert "generation" not in found, "there is no judge"
    for stage in ("score", "classifier", "samples", "evaluation"):
        assert 0 < found[stage]["seconds"] < 300


def test_the_same_again_does_nothing_new(program, finished, snapshot):
    """--config left out: the run carries its own."""
    before = snapshot(finished)
    outcome = program.run(finished)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert outcome.seconds < 60
    after = snapshot(finished)
    assert after.keys() == before.keys()
    for name, (content, changed) in after.items():
        if name.startswith(("checkpoints", "logs", "samples/samples", "evaluation", "metrics")):
            assert changed == before[name][1], name
        if not name.startswith(("figures", "samples/grid", "report")):
            assert content == before[name][0], name
    assert "accuracy" in outcome.out


def test_mode_by_mode_is_the_same_run_and_needs_neither_tensorflow_nor_torch(
    program, first_run, tiny, tmp_path, assert_same_run
):
    for name in ("tensorflow", "torch"):
        package = tmp_path / "watched" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\nraise ImportError({name!r})\n"
        )
    modes = [f"--mode={stage}" for stage in STAGES]
    outcome = program.run(
        tmp_path / "run", *tiny, call=("-c", MODE_BY_MODE % modes), PYTHONPATH=str(tmp_path / "watched")
    )
    assert outcome.code == 0
    assert outcome.out.rstrip().endswith("[0, 0, 0, 0, 0]"), outcome.err
    assert_same_run(first_run[0], tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("mode", "missing", "needed"),
    [
        ("train_classifier", "checkpoints/score", "score"),
        ("sample", "checkpoints/score", "score"),
        ("sample", "checkpoints/classifier", "classifier"),
        ("evaluate", "checkpoints/classifier", "classifier"),
    ],
)
def test_a_stage_before_the_one_it_needs(mode, missing, needed, own, complaint):
    shutil.rmtree(own.workdir / missing)
    for name in ("samples/samples.npz", "evaluation.npz"):
        (own.workdir / name).unlink()
    line = complaint(own.workdir, f"--mode={mode}", path=own.path)
    assert f"stage {needed} of {own.workdir} is not finished: run --mode=train_{needed}" in line
    assert not (own.workdir / missing).exists()


def test_a_stage_that_is_half_done_does_not_count_as_done(own, complaint):
    shutil.rmtree(own.workdir / "checkpoints" / "score" / "20")
    (own.workdir / "samples" / "samples.npz").unlink()
    assert "--mode=train_score" in complaint(own.workdir, "--mode=sample")
    assert command(own.workdir, "--mode=train_score") == 0
    assert Run(own.workdir).steps_done("score") == 20
    assert command(own.workdir, "--mode=sample") == 0


def test_drawing_again_forgets_the_figures_of_the_old_samples(own, complaint):
    (own.workdir / "samples" / "samples.npz").unlink()
    before, other = results(own.workdir), "--config.sampling.scale=2.0"
    assert {"class_agreement", "judge_accuracy", "nearest_distance"} <= before["samples"].keys()
    line = complaint(own.workdir, other, "--mode=sample")
    assert line.endswith("delete checkpoints/cas, evaluation.npz there to do it again"), "they are of the old samples"
    (own.workdir / "evaluation.npz").unlink()
    shutil.rmtree(own.workdir / "checkpoints" / "cas")
    assert command(own.workdir, other, "--mode=sample") == 0
    after = results(own.workdir)
    assert "generation" not in after
    assert after["samples"].keys() == {"count", "sampler", "steps", "calls", "scale", "seconds"}
    assert after["samples"]["scale"] == 2.0
    assert after["score"] == before["score"]
    assert after["classifier"].items() <= before["classifier"].items()
    assert command(own.workdir, "--mode=evaluate") == 0
    after = results(own.workdir)
    assert after["classifier"] == before["classifier"], "whatever the samples"
    assert after["data"] == before["data"]
    assert after["generation"] != before["generation"]


def test_samples_that_are_deleted_are_drawn_again_and_measured_again(own, small_run):
    (own.workdir / "samples" / "samples.npz").unlink()
    assert command(own.workdir) == 0
    for name in ("samples", "evaluation"):
        found, before = (Run(workdir).arrays(name) for workdir in (own.workdir, small_run / "run"))
        assert found.keys() == before.keys()
        for key, array in before.items():
            np.testing.assert_array_equal(found[key], array, err_msg=key)
    found, before = results(own.workdir), results(small_run / "run")
    for block in (*found.values(), *before.values()):
        block.pop("seconds", None)
    assert found == before
