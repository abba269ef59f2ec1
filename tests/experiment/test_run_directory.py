"""A run's directory: what is read from it, what is written to it, and what is not there."""

import json

import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import run as run_module
from scoressl_jax.experiment.run import FORMAT, Run


@pytest.fixture
def new(tmp_path):
    """A run that has been written to."""
    run = Run(tmp_path / "run")
    run.write_config({"seed": 3, "score": {"steps": 7}}, "python -m scoressl_jax.main --workdir=run")
    return run


# Opening


def test_a_run_holds_its_fields_its_format_and_the_command(new):
    assert Run.open(new.workdir).config == {"seed": 3, "score": {"steps": 7}}
    assert json.loads((new.workdir / "config.json").read_text())["format"] == new.format == FORMAT
    assert new.command == "python -m scoressl_jax.main --workdir=run"
    new.write_config({"seed": 4}, "python -m scoressl_jax.main --config.seed=4")
    assert (new.config, new.command) == ({"seed": 4}, "python -m scoressl_jax.main --config.seed=4")


def test_opening_what_is_no_run_or_of_a_newer_version(new, tmp_path):
    with pytest.raises(UserError, match=r"holds no run \(it has no config.json\): name the directory of one"):
        Run.open(tmp_path)
    assert not Run(tmp_path).exists
    (new.workdir / "config.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(UserError, match=rf"made by a newer version \(format {FORMAT + 1}, this one knows {FORMAT}\)"):
        Run.open(new.workdir)
    (new.workdir / "config.json").write_text(json.dumps({"seed": 1}))
    assert Run.open(new.workdir).format == 1
    for text in ('{"seed": 0,', "[]", "", "7"):
        (new.workdir / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"config.json cannot be read \(.+\): restore or delete it"):
            Run.open(new.workdir)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(UserError, match=r"--workdir=.*file.*: name a directory that can be written"),
        Run(tmp_path / "file" / "run").locked(),
    ):
        raise AssertionError
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Run("~/runs/x").workdir == tmp_path / "runs" / "x"


def test_what_is_absent_or_cut_short_is_empty(new):
    assert (new.data, new.made, new.results, new.labels, new.samples, new.evaluation) == ({},) * 6
    assert (new.metrics, Run(new.workdir.parent).command, new.steps_done("score")) == ([], "", 0)
    for name in ("data.json", "made.json", "results.json", "labels.json", "evaluation.npz"):
        (new.workdir / name).write_text('{"cut')
    (new.workdir / "samples").mkdir()
    (new.workdir / "samples" / "samples.npz").write_bytes(b"PK")
    cut = Run(new.workdir)
    assert (cut.data, cut.made, cut.results, cut.labels, cut.samples, cut.evaluation) == ({},) * 6
    with pytest.raises(UserError, match="stage score is not trained: finish the run first"):
        cut.params("score")


# Data and sources


def test_data_and_labels(new):
    new.write_data({"name": "own", "class_names": ["a", "b"]}, None)
    assert new.data == {"name": "own", "class_names": ["a", "b"]}
    assert not (new.workdir / "labels.json").exists()
    new.write_data({"name": "own"}, {"labeled": [1, 2], "seed": 0})
    assert Run(new.workdir).labels == {"labeled": [1, 2], "seed": 0}
    assert new.class_names(2) == ["0", "1"]
    new.write_data({"class_names": ["cat", 7]}, None)
    assert new.class_names() == ["cat", "7"]
    assert new.class_names(3) == ["cat", "7", "2"]
    assert new.class_names(1) == ["cat"]


def test_what_a_run_of_format_1_tells_of_its_data(new):
    facts = {"name": "own", "num_classes": 2, "num_train": 9}
    new.record(data=facts)
    assert new.data == {**facts, "class_names": ["0", "1"]}
    new.write_arrays("samples", images=np.zeros((3, 8, 6, 1), np.uint8))
    assert new.data == {**facts, "class_names": ["0", "1"], "image_shape": [8, 6, 1]}
    new.write_arrays("evaluation", class_names=np.array(["cat", "dog"]), gradient_images=np.zeros((2, 4, 5, 3)))
    assert new.data == {**facts, "class_names": ["cat", "dog"], "image_shape": [4, 5, 3]}
    new.write_data({"name": "known"}, None)
    assert new.data == {"name": "known"}


def test_what_each_stage_was_made_from(new):
    new.write_made("classifier", {"score": 20})
    new.write_made("samples", {"score": 20, "classifier": 30})
    new.write_made("classifier", {"score": 25})
    assert Run(new.workdir).made == {"samples": {"score": 20, "classifier": 30}, "classifier": {"score": 25}}
    new.write_made("samples", None)
    new.write_made("never", None)
    assert new.made == {"classifier": {"score": 25}}


def test_where_each_stage_was_made(new):
    assert new.made_on == {}
    new.write_made_on("score", {"date": "2026-11-24"})
    new.write_made_on("samples", {"date": "2026-11-25"})
    new.write_made_on("score", {"date": "2026-11-26"})
    assert Run(new.workdir).made_on == {"samples": {"date": "2026-11-25"}, "score": {"date": "2026-11-26"}}
    new.write_made("samples", {"score": 20})
    assert set(new.made_on) == {"samples", "score"}
    new.write_made("samples", None)
    assert set(new.made_on) == {"score"}, "what is forgotten was made nowhere"


# Results


def test_blocks_of_results_are_merged_and_forgotten(new):
    new.record(score={"steps": 3, "loss": 0.5})
    new.record(score={"loss": 0.25}, samples={"count": 4})
    assert Run(new.workdir).results == {"score": {"steps": 3, "loss": 0.25}, "samples": {"count": 4}}
    new.forget("samples", "nothing")
    assert new.results == {"score": {"steps": 3, "loss": 0.25}}


def test_measured_figures_are_forgotten_and_what_was_done_stays(new):
    done = {
        "score": {"parameters": 5, "steps": 3, "loss": 0.5, "seconds": 1.0, "init_from": "run:x"},
        "classifier": {"kind": "noisy", "parameters": 5, "steps": 3, "loss": 0.5, "seconds": 1.0},
        "class_prior": {"estimate": 0.4, "standard_error": 0.1, "method": "m", "true": 0.5, "error": -0.1},
        "samples": {"count": 4, "sampler": "ddim", "steps": 3, "calls": 3, "scale": 2.0, "task": "x", "seconds": 1.0},
    }
    new.record(**done)
    new.record(
        classifier={"accuracy": 0.5, "accuracy_standard_error": 0.1, "accuracy_by_noise": [], "ece": 0.1, "f1": 0.5},
        samples={"class_agreement": 0.5, "judge_accuracy": 0.9, "nearest_distance": {}},
        data={"name": "own"}, evaluation={"seconds": 1.0},
        generation={"fid@4": 1.0}, likelihood={"bits_per_dim@4": 2.0}, score_error={"base": {}},
    )  # fmt: skip
    new.forget_measured()
    assert new.results == done


# Files


def test_arrays_are_read_once_until_they_are_written_or_removed(new):
    new.write_arrays("samples", images=np.arange(3))
    assert (new.workdir / "samples" / "samples.npz").exists()
    assert new.samples["images"].tolist() == [0, 1, 2]
    assert new.samples is new.samples
    new.write_arrays("samples", images=np.arange(4))
    assert new.samples["images"].tolist() == [0, 1, 2, 3]
    new.remove("samples/*.npz")
    assert new.samples == {}
    new.write_arrays("evaluation", confusion=np.eye(2))
    assert new.evaluation["confusion"].tolist() == [[1, 0], [0, 1]]
    new.set_aside("evaluation.npz")
    assert new.evaluation == {}
    new.write_arrays("class_prior", estimate=0.5)
    assert new.arrays("class_prior")["estimate"] == 0.5
    assert (new.workdir / "class_prior.npz").exists()


def test_files_of_any_content_are_written_whole(new, monkeypatch):
    assert new.write("a/b.txt", "text") == new.workdir / "a" / "b.txt"
    new.write("c.png", b"\x89PNG")
    new.write("d.json", {"x": 1})
    assert (new.workdir / "a" / "b.txt").read_text() == "text"
    assert (new.workdir / "c.png").read_bytes() == b"\x89PNG"
    assert json.loads((new.workdir / "d.json").read_text()) == {"x": 1}
    assert not list(new.workdir.rglob("*.part"))
    monkeypatch.setattr(run_module.jax, "process_index", lambda: 1)
    new.write("e.txt", "by the first process alone")
    new.remove("c.png")
    new.record(score={"steps": 3})
    assert not (new.workdir / "e.txt").exists()
    assert (new.workdir / "c.png").exists()
    assert new.results == {}


def test_patterns_of_what_is_there(new):
    (new.workdir / "checkpoints" / "score").mkdir(parents=True)
    (new.workdir / "checkpoints" / "score-20.damaged").mkdir()
    patterns = ("checkpoints/score", "checkpoints/score-*.damaged", "checkpoints/classifier", "evaluation.npz")
    assert new.has(*patterns) == ["checkpoints/score", "checkpoints/score-*.damaged"]
    new.remove(*patterns[1:])
    assert new.has(*patterns) == ["checkpoints/score"]
    assert new.has() == []


def test_what_is_set_aside_is_kept_with_what_it_was_made_with(new):
    def fill(text):
        for name in ("results.json", "labels.json", "data.json", "report.html", "samples/samples.npz", "kept.txt"):
            new.write(name, text)

    fill("first")
    assert new.set_aside("samples/samples.npz", "nothing") == new.workdir / "replaced-1"
    fill("second")
    assert new.set_aside("samples/*") == new.workdir / "replaced-2"
    for number, text in ((1, "first"), (2, "second")):
        folder = new.workdir / f"replaced-{number}"
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        with_it = {"config.json", "results.json", "labels.json", "data.json", "report.html"}
        assert found == {"samples/samples.npz"} | with_it
        assert (folder / "samples" / "samples.npz").read_text() == (folder / "results.json").read_text() == text
    assert (new.workdir / "results.json").read_text() == "second", "copies"
    assert not (new.workdir / "samples" / "samples.npz").exists()
    (new.workdir / "replaced-1").rename(new.workdir / "replaced-9")
    assert new.set_aside("kept.txt") == new.workdir / "replaced-10"


def test_parameters_are_restored_once_and_anew_when_there_are_more(own, monkeypatch):
    run, read = Run(own.workdir), []
    averages = run_module.read_averages
    monkeypatch.setattr(run_module, "read_averages", lambda folder: read.append(folder.name) or averages(folder))
    assert run.params("score") is run.params("score")
    assert run.params("classifier") is not run.params("score")
    assert read == ["score", "classifier"]
    (own.workdir / "checkpoints" / "score" / "20").rename(own.workdir / "20")
    assert run.steps_done("score") == 10
    assert run.params("score") is not Run(own.workdir).params("classifier")
    assert read == ["score", "classifier", "score", "classifier"]


def test_what_was_logged_last(own):
    run = Run(own.workdir)
    rows = [row for row in run.metrics if row["stage"] == "score"]
    assert run.last_logged("score") == {"loss": rows[-1]["loss"], "seconds": rows[-1]["time"]}
    assert run.last_logged("nothing") == {}
