"""A whole run as a process: its files, its stages one by one, and that a finished one is left as it is."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.data.digits import load_digits
from scoressl_jax.experiment import pipeline
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.runs import Run
from scoressl_jax.training.metrics import read_metrics

STAGES = ("train_score", "train_classifier", "sample", "evaluate", "report")
# Runs main() once a mode in one process, for speed: nothing but files is carried from one to the next.
MODE_BY_MODE = "import sys; from scoressl_jax.main import main; print([main([*sys.argv[1:], m]) for m in %r])"
LAST_STEP = 400


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
    assert command.startswith("python -m scoressl_jax.main --workdir=")
    assert "--config.score.steps=400" in command
    assert outcome.err == ""
    assert not list(workdir.rglob(".*.part"))


def test_results(first_run):
    results = json.loads((first_run[0] / "results.json").read_text())
    assert results["data"] == {
        "name": "digits", "num_classes": 10, "num_train": 1437, "num_labeled": 100, "num_unlabeled": 1337,
        "num_test": 360,
    }  # fmt: skip
    assert results["score"]["steps"] == results["classifier"]["steps"] == LAST_STEP
    assert results["score"].keys() == {"parameters", "steps", "loss", "seconds"}
    classifier = results["classifier"]
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
    samples = results["samples"]
    assert (samples["count"], samples["sampler"], samples["steps"]) == (20, "reverse_diffusion+langevin", 4)
    assert "class_agreement" not in samples
    assert "generation" not in results, "there is no judge"
    for stage in ("score", "classifier", "samples"):
        assert 0 < results[stage]["seconds"] < 300


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
def test_a_stage_before_the_one_it_needs(mode, missing, needed, finished, tiny, call_main):
    shutil.rmtree(finished / missing)
    for name in ("samples/samples.npz", "evaluation.npz"):
        (finished / name).unlink()
    code, line = call_main(*tiny, f"--workdir={finished}", f"--mode={mode}")
    assert code == 2
    assert f"--mode=train_{needed}" in line
    assert not (finished / missing).exists()


def test_drawing_again_forgets_the_figures_of_the_old_samples(program, finished, tiny):
    (finished / "samples" / "samples.npz").unlink()
    results = json.loads((finished / "results.json").read_text())
    results["samples"]["class_agreement"], results["generation"] = 0.5, {"fid@20": 3.0}
    (finished / "results.json").write_text(json.dumps(results))
    outcome = program.run(finished, *tiny, "--config.sampling.scale=2.0", "--mode=sample")
    assert outcome.code == 2, "the evaluation is of the old samples"
    (finished / "evaluation.npz").unlink()
    outcome = program.run(finished, *tiny, "--config.sampling.scale=2.0", "--mode=sample")
    assert (outcome.code, outcome.err) == (0, "")
    after = json.loads((finished / "results.json").read_text())
    assert "generation" not in after
    assert "class_agreement" not in after["samples"]
    assert after["samples"]["scale"] == 2.0
    assert after["classifier"] == results["classifier"]


def test_a_stage_that_is_half_done_does_not_count_as_done(finished, tiny, call_main):
    shutil.rmtree(finished / "checkpoints" / "score" / "400")
    (finished / "samples" / "samples.npz").unlink()
    code, line = call_main(*tiny, f"--workdir={finished}", "--mode=sample")
    assert code == 2
    assert "--mode=train_score" in line


def test_a_field_that_the_run_did_not_know_is_no_change(finished, tiny, call_main):
    config = json.loads((finished / "config.json").read_text())
    del config["score"]["random_flip"]
    (finished / "config.json").write_text(json.dumps(config))
    assert "config.seed" in call_main(*tiny, f"--workdir={finished}", "--config.seed=3")[1]


def test_a_changed_judge_asks_to_delete_the_old_one(finished, tiny, call_main):
    (finished / "checkpoints" / "judge").mkdir()
    code, line = call_main(*tiny, f"--workdir={finished}", "--config.evaluation.judge_depth=16")
    assert code == 2
    assert "checkpoints/judge" in line
    assert "samples.npz" not in line
    line = call_main(*tiny, f"--workdir={finished}", "--config.sampling.scale=3.0")[1]
    assert "delete samples/samples.npz" in line
    assert "checkpoints/judge" not in line


def test_samples_are_compared_with_real_images_and_the_classifier_of_samples_is_kept(
    program, finished, tiny, call_main
):
    (finished / "evaluation.npz").unlink()
    results = json.loads((finished / "results.json").read_text())
    (finished / "results.json").write_text(json.dumps(results | {"generation": {"fid@7": 3.0}}))
    values = ("features=pixels", "k=1", "cas_steps=2", "judge_depth=4", "likelihood_images=4")
    flags = [f"--config.evaluation.{value}" for value in values]
    outcome = program.run(finished, *tiny, *flags, "--mode=evaluate")
    assert (outcome.code, outcome.err) == (0, "")
    block = json.loads((finished / "results.json").read_text())["generation"]
    with np.load(finished / "samples" / "samples.npz") as file:
        samples, labels = file["images"].reshape(20, -1) / 255.0, file["labels"]
    data = load_digits()
    real = data.x_train.reshape(len(data.x_train), -1) / 255.0
    in_balls = lambda x, y: cdist(x, y) < np.sort(cdist(x, x))[:, 1:2]  # noqa: E731
    assert block["precision"] == pytest.approx(in_balls(real, samples).any(0).mean())
    covered = [in_balls(real[data.y_train == c], samples[labels == c]).any(1).mean() for c in range(10)]
    assert [row["coverage"] for row in block["classwise"].values()] == pytest.approx(covered)
    assert block["classwise_mean"]["coverage"] == pytest.approx(np.mean(covered))
    assert [row["count"] for row in block["classwise"].values()] == [2] * 10
    assert (block["features"], block["reference"], block["reference_count"]) == ("pixels", "train", 1437)
    assert "fid@20" in block
    assert "fid@7" not in block
    assert 0 <= block["cas"] <= 1
    assert 0 < json.loads((finished / "results.json").read_text())["likelihood"]["bits_per_dim@4"] < 20
    assert "fewer than 10,000 images" in outcome.out

    assert (finished / "checkpoints" / "cas" / "2").is_dir()
    for field in ("k=2", "curve_images=3"):
        line = call_main(*tiny, *flags, f"--workdir={finished}", f"--config.evaluation.{field}")[1]
        assert "delete evaluation.npz" in line
        assert "checkpoints" not in line
    line = call_main(*tiny, *flags, f"--workdir={finished}", "--config.evaluation.cas_steps=3")[1]
    assert "delete checkpoints/cas, evaluation.npz" in line


def test_hidden_labels_leave_out_the_comparison_class_by_class(tmp_path):
    rng, config = np.random.default_rng(0), default_config()
    x, y = rng.integers(0, 256, (40, 4, 4, 1)).astype(np.uint8), np.arange(40) % 2
    hidden = np.where(np.arange(40) < 20, y, -1)
    experiment = SimpleNamespace(config=config, dataset=make_dataset("own", x, hidden, x[:30], y[:30]))
    (tmp_path / "results.json").write_text("{}")
    for reference, count in (("train", 40), ("test", 30)):
        config.evaluation.update(features="pixels", reference=reference, cas_steps=0)
        pipeline.evaluate_generation(Run(tmp_path, experiment, None), x[::-1], y[::-1], None)
        block = json.loads((tmp_path / "results.json").read_text())["generation"]
        assert (block["reference"], block["reference_count"]) == (reference, count)
        assert ("classwise" in block) == (reference == "test")


def test_check_trains_and_writes_nothing(program, tiny, tmp_path):
    outcome = program.run(tmp_path / "run", *tiny, "--mode=check")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"run.out", "run.err"}
    for stage in ("score", "classifier"):
        line = next(line for line in outcome.out.splitlines() if line.startswith(stage))
        assert "parameters" in line
        assert "batch x 16" in line
        assert "400 steps: about" in line
    assert "1437 training images" in outcome.out
