"""Measuring samples: figures by hand from the files of a run, and what is left out where labels are hidden."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.data.digits import load_digits
from scoressl_jax.experiment import measure
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work


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
        measure.evaluate_generation(Work(IMAGES, Run(tmp_path), experiment), x[::-1], y[::-1], None)
        block = json.loads((tmp_path / "results.json").read_text())["generation"]
        assert (block["reference"], block["reference_count"]) == (reference, count)
        assert ("classwise" in block) == (reference == "test")


def test_without_labels_for_a_judge_samples_are_compared_by_pixels_and_the_terminal_says_so(tmp_path, capsys):
    rng, config = np.random.default_rng(0), default_config()
    x, y = rng.integers(0, 256, (40, 4, 4, 1)).astype(np.uint8), np.arange(40) % 2
    hidden = np.where(np.arange(40) < 15, y, -1)
    dataset = make_dataset("own", x, hidden, x[:30], y[:30])
    config.evaluation.cas_steps = 0
    work = Work(IMAGES, Run(tmp_path), SimpleNamespace(config=config, dataset=dataset, num_classes=2))
    work.run.write_arrays("samples", images=x[::-1], labels=y[::-1])
    measure.evaluate_samples(work)
    found = work.run.results
    assert found["generation"]["features"] == "pixels"
    assert "class_agreement" not in found["samples"]
    said = capsys.readouterr().out
    assert "no judge: it would learn from all 40 training images, and 25 have no label" in said
    assert "comparing 40 samples with 40 train images by pixels" in said
