"""The files of a run as its pages show them: what is taken from where, and what stands in for what is absent."""

import json

import numpy as np
import pytest

from scoressl_jax.experiment.run import Run
from scoressl_jax.files import write_json, write_npz
from scoressl_jax.report.snapshot import Snapshot

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (80).to_bytes(4, "big") + b"rest"


def snapshot(workdir, config=None, **files):
    write_json(workdir / "config.json", config or {"regime": "ssl", "data": {"name": "npz"}})
    for name, content in files.items():
        write_json(workdir / f"{name}.json", content)
    return Snapshot(Run.open(workdir))


def test_a_config_alone_is_enough(tmp_path):
    run = snapshot(tmp_path)
    assert (run.regime, run.data_name, run.budget, run.num_labeled) == ("semi-supervised", "npz", "labels", None)
    assert (run.results, run.data, run.labels, run.samples, run.evaluation) == ({}, {}, {}, {}, {})
    assert (run.metrics, run.command) == ([], "")
    assert run.names(2) == ["0", "1"]


def test_data_json_comes_first(tmp_path):
    run = snapshot(
        tmp_path,
        data={"name": "digits", "num_labeled": 1500, "class_names": ["cat", "dog"]},
        labels={"labeled": [1, 2, 3]},
        results={"data": {"name": "other", "num_labeled": 7, "num_classes": 2}},
    )
    assert (run.data_name, run.num_labeled, run.budget) == ("digits", 1500, "1,500 labels")
    assert run.names(3) == ["cat", "dog", "2"]
    assert run.names(1) == ["cat"]


def test_an_older_run_is_told_by_its_other_files(tmp_path):
    write_npz(tmp_path / "evaluation.npz", class_names=np.array(["cat", "dog"]))
    run = snapshot(tmp_path, results={"data": {"name": "other", "num_labeled": 7, "num_classes": 2}})
    assert (run.data_name, run.budget) == ("other", "7 labels")
    assert run.names(2) == ["cat", "dog"]


@pytest.mark.parametrize(("regime", "noun"), [("pu", "labelled positives"), ("supervised", "labels")])
def test_labels_are_counted_where_nothing_else_tells(regime, noun, tmp_path):
    run = snapshot(tmp_path, {"regime": regime}, labels={"labeled": [5, 8, 9]})
    assert (run.budget, run.data_name) == (f"3 {noun}", "data")


def test_a_result_is_none_until_it_is_measured(tmp_path):
    run = snapshot(tmp_path, results={"classifier": {"accuracy": 0.0}})
    assert run.result("classifier", "accuracy") == 0.0
    assert run.result("classifier", "ece") is run.result("samples", "count") is None


def test_arrays_metrics_and_command(tmp_path):
    write_npz(tmp_path / "samples" / "samples.npz", labels=np.arange(3))
    write_npz(tmp_path / "evaluation.npz", confusion=np.eye(2))
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"stage": "score", "step": 1, "loss": 2.0}) + "\n")
    (tmp_path / "command.txt").write_text("the command\n")
    run = snapshot(tmp_path)
    assert run.samples["labels"].tolist() == [0, 1, 2]
    assert run.evaluation["confusion"].tolist() == [[1, 0], [0, 1]]
    assert [row["loss"] for row in run.metrics] == [2.0]
    assert run.command == "the command"


def test_a_picture_is_kept_and_shown(tmp_path):
    run = snapshot(tmp_path)
    markup = run.picture("name", PNG, "what it shows")
    assert (tmp_path / "figures" / "name.png").read_bytes() == PNG
    assert '<figure class="chart">' in markup
    assert "what it shows" in markup
    assert '<figure class="grid">' in run.picture("name", PNG, "", "grid")
