"""The report of fake runs: what the page holds, and that a part of a run is enough."""

import base64
import io
import json
import re

import numpy as np
import pytest
from fake_runs import COMMAND, MEASURED, SECTIONS, Page, machine, make_config, make_run
from PIL import Image

from scoressl_jax.experiment.run import Run
from scoressl_jax.files import write_bytes, write_json, write_npz, write_text
from scoressl_jax.report import classifier, training
from scoressl_jax.report.charts import GAP, tile_size
from scoressl_jax.report.generation import generation
from scoressl_jax.report.page import summary, write_report
from scoressl_jax.report.results import results
from scoressl_jax.report.snapshot import Snapshot
from scoressl_jax.report.times import times
from scoressl_jax.report.training import curve


def page_of(workdir):
    return Page(write_report(Run.open(workdir)))


def summary_of(workdir):
    return summary(Run.open(workdir))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = make_run(tmp_path_factory.mktemp("whole"))
    return workdir, page_of(workdir)


def test_every_section_is_there_and_measured(whole):
    _, page = whole
    assert tuple(name for name in page.text if name in SECTIONS) == SECTIONS
    assert not any("not measured" in text for text in page.text.values())
    assert {name: len(pictures) for name, pictures in page.pictures.items()} == {
        "data": 10, "samples": 20, "noise": 1, "confusion": 1, "reliability": 1, "gradients": 10, "training": 6,
    }  # fmt: skip


def test_answer_comes_first(whole):
    _, page = whole
    assert "digits: 96.9 % accuracy from 100 labels" in page.text["headline"]
    assert "97.0 %" in page.text["headline"]
    assert "itself right about 98.0 % of test images" in page.text["headline"]
    assert "3 of all 100 samples" in page.text["samples"]
    assert "1.31" in page.text["samples"]
    assert "WideResNet-10-1 trained on all 1437 labels" in page.text["results"]
    assert COMMAND in page.text["command"].replace(" \\\n    --", " --")  # a flag a line, as a shell takes it
    assert "data.num_labels" in page.text["settings"]


def test_page_needs_nothing_but_itself(whole):
    workdir, page = whole
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not page.tags & {"script", "link", "iframe"}
    text = (workdir / "report.html").read_text()
    assert "http" not in text
    assert "url(" not in text


def test_pictures_are_kept_as_files(whole):
    workdir, page = whole
    kept = {path.stem for path in (workdir / "figures").glob("*.png")}
    assert {"samples", "nearest", "accuracy_by_noise", "confusion", "gradients", "training_score_loss"} <= kept
    assert len(kept) == 4 + 3 + 6  # of labelled images, samples, neighbours, gradients; of the classifier; of training


def test_sample_grid_has_a_row_per_class(whole):
    workdir, _ = whole
    grid = np.asarray(Image.open(workdir / "samples" / "grid.png"))
    with np.load(workdir / "samples" / "samples.npz") as samples:
        image = samples["images"][samples["labels"] == 7][2, ..., 0]
    height, width = tile_size(image.shape)
    assert (height, width) == (112, 112)
    assert grid.shape[0] == GAP + 10 * (height + GAP)
    x, y = grid.shape[1] - 8 * (width + GAP), GAP + 7 * (height + GAP)
    tile = grid[y : y + height, x : x + width, 0]
    np.testing.assert_array_equal(tile[::14, ::14], image)


def test_judges_objections_are_outlined_in_red(whole):
    workdir, _ = whole
    red = lambda name: (np.asarray(Image.open(workdir / name).convert("RGB")) == (208, 28, 28)).all(-1).sum()  # noqa: E731
    assert red("samples/grid.png") == 0
    assert red("figures/samples.png") == 3 * (120**2 - 104**2)


def test_config_alone_makes_a_page(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    page = page_of(tmp_path)
    assert tuple(name for name in page.text if name in SECTIONS) == SECTIONS
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", *MEASURED, "command"))
    assert not page.references
    assert "digits" in summary_of(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "labels.json", "samples/samples.npz", "evaluation.npz"])
def test_file_cut_short_counts_as_absent(whole, tmp_path, name):
    content = (whole[0] / name).read_bytes()
    write_json(tmp_path / "config.json", make_config())
    write_bytes(tmp_path / name, content[: len(content) // 2])
    page = page_of(tmp_path)
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", *MEASURED, "command"))


def test_line_of_metrics_cut_short_is_left_out(whole, tmp_path):
    write_json(tmp_path / "config.json", make_config())
    write_text(tmp_path / "metrics.jsonl", (whole[0] / "metrics.jsonl").read_text().splitlines()[0] + '\n{"stage": "sc')
    assert "not measured yet" in page_of(tmp_path).text["training"]


def test_a_run_of_format_1_has_the_same_page(whole, tmp_path):
    """Which had no data.json: the names and counts stood in other files."""
    make_run(tmp_path)
    (tmp_path / "data.json").unlink()
    write_json(tmp_path / "config.json", make_config())
    arrays = Run(tmp_path).evaluation
    write_npz(tmp_path / "evaluation.npz", **arrays | {"class_names": np.array(list("abcdefghij"))})
    page = page_of(tmp_path)
    named = {name for name, text in page.text.items() if text != whole[1].text[name]}
    assert named == {"data", "samples", "gradients"}
    for name in named:
        assert page.text[name].replace("abcdefghij", "0123456789") == whole[1].text[name]
    assert page.pictures["confusion"] != whole[1].pictures["confusion"]


def test_data_are_known_before_anything_is_measured(tmp_path):
    write_json(tmp_path / "config.json", {"format": 2, **make_config()})
    write_json(tmp_path / "data.json", {"name": "own", "num_train": 1500, "num_labeled": 250, "num_test": 0})
    page = page_of(tmp_path)
    assert "own: semi-supervised run from 250 labels" in page.text["headline"]
    assert "for training1,500" in page.text["data"]
    assert "of these labelled250" in page.text["data"]
    assert "for testing0" in page.text["data"]
    assert "not measured yet" in page.text["results"]


def test_every_stage_that_took_time_is_in_the_table_of_costs(whole, tmp_path):
    rows = re.findall(r"(score|classifier|samples|together)([\d,.]+)\n", whole[1].text["times"])
    assert rows == [
        ("score", "210.42,0001,234,567"), ("classifier", "180.22,000345,678"), ("samples", "33500"),
        ("together", "423.6"),
    ]  # fmt: skip
    write_json(tmp_path / "config.json", make_config())
    encoder = {"seconds": 5.0, "steps": 7, "parameters": 11}
    write_json(tmp_path / "results.json", {"encoder": encoder, "other": {"x": 1}})
    assert "encoder5711" in page_of(tmp_path).text["times"]
    assert "seconds   encoder 5\n" in summary_of(tmp_path)


def test_settings_are_the_fields(whole):
    workdir, page = whole
    assert re.search(r"sde\.sigma_max50\.0\n", page.text["settings"])
    assert "format" not in page.text["settings"]


def test_curve_keeps_the_last_of_a_repeated_step(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    losses = [(50, 1.0), (100, float("nan")), (150, 9.0), (150, 2.0)]
    rows = [json.dumps({"stage": "score", "step": step, "loss": loss}) + "\n" for step, loss in losses]
    write_text(tmp_path / "metrics.jsonl", "".join(rows))
    np.testing.assert_array_equal(curve(Snapshot(Run.open(tmp_path)), "score", "loss"), [[50, 150], [1, 2]])


def test_evaluation_of_other_samples_is_not_shown(tmp_path):
    make_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with np.load(tmp_path / "samples" / "samples.npz") as samples:
        write_npz(tmp_path / "samples" / "samples.npz", images=samples["images"][:50], labels=samples["labels"][:50])
    page = page_of(tmp_path)
    assert len(page.pictures["samples"]) == 10
    assert "judge takes" not in page.text["samples"]


def test_restored_images_stand_between_what_was_given_and_the_originals(tmp_path):
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in (40, 90)])
    write_json(tmp_path / "config.json", make_config())
    write_npz(tmp_path / "samples" / "samples.npz", images=images, labels=np.array([0, 1]), given=images + 20,
              originals=images + 40)  # fmt: skip
    assert len(page_of(tmp_path).pictures["samples"]) == 4
    grid = np.asarray(Image.open(tmp_path / "figures" / "restored.png"))
    column = grid[:, grid.shape[1] - GAP - 50, 0]
    values = [value for value in (40, 60, 80, 90, 110, 130) if (column == value).sum() == 112]
    order = sorted(values, key=lambda value: int(np.argmax(column == value)))
    assert order == [60, 40, 80, 110, 90, 130]


def test_names_are_text_not_markup(tmp_path):
    names = ("<b>bold</b>", "$a_1$ & more than fits")
    make_run(tmp_path, "pu", names)
    (tmp_path / "metrics.jsonl").unlink()
    config = make_config("pu") | {"note": "<script>alert(1)</script>"}
    write_json(tmp_path / "config.json", config)
    page = page_of(tmp_path)
    assert "<b>bold</b>" in page.text["results"]
    assert names[1] in page.text["samples"]
    assert f"samples of class {names[0]}" in page.told["samples"]
    assert "<script>" in page.text["settings"]
    assert "script" not in page.tags


def test_positive_unlabelled_run_shows_f1(tmp_path):
    make_run(tmp_path, "pu", ("negative", "positive"))
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "evaluation.npz").unlink()
    results = json.loads((tmp_path / "results.json").read_text())
    results["classifier"] |= {"f1": 0.9512, "precision": 0.94, "recall": 0.96}
    write_json(tmp_path / "results.json", results)
    page = page_of(tmp_path)
    assert "0.951" in page.text["headline"]
    assert "100 labelled positives" in page.text["headline"]
    assert "without a single labelled negative" in page.text["question"]
    assert "1, 3, 5, 7, 9" in page.text["data"]
    assert re.search(r"F1 +0\.951", summary_of(tmp_path))


def test_summary_is_short_and_ends_at_the_page(whole):
    workdir, _ = whole
    lines = summary_of(workdir).splitlines()
    assert any(re.fullmatch(r"judge +98\.0 %: WideResNet-10-1 trained on .*", line) for line in lines)
    assert len(lines) < 10
    assert lines[0] == "data      digits, semi-supervised from 100 labels"
    assert "seconds   score 210, classifier 180, samples 33" in lines
    assert lines[-1].endswith(str(workdir / "report.html"))


def test_agreement_of_zero_is_a_measurement(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    write_json(tmp_path / "results.json", {"samples": {"class_agreement": 0.0}})
    assert "0.0 %" in page_of(tmp_path).text["headline"]
    assert "0.0 %" in summary_of(tmp_path)


def png_of_nothing():
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (80).to_bytes(4, "big")


def light_run(workdir):
    """Without training curves, which take the longest to draw."""
    make_run(workdir)
    (workdir / "metrics.jsonl").unlink()
    return workdir


def change(workdir, name, **blocks):
    """Blocks of a JSON file changed; a key whose value is None is left out."""
    found = json.loads((workdir / name).read_text())
    for block, values in blocks.items():
        values = {**found.get(block, {}), **values} if isinstance(values, dict) else values
        found[block] = {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values
    write_json(workdir / name, found)


def test_shares_stand_with_their_standard_errors(whole, tmp_path):
    _, page = whole
    assert "96.9 % ± 0.9" in page.text["headline"]
    assert "accuracy of the classifier96.9 % ± 0.9" in page.text["results"]
    assert "class agreement of samples97.0 % ± 1.7" in page.text["results"]
    assert "± is one standard error" in page.text["results"]
    assert "accuracy  96.9 % ± 0.9\n" in summary_of(whole[0])
    workdir = light_run(tmp_path)
    for block, name in (("classifier", "accuracy"), ("samples", "class_agreement")):
        change(workdir, "results.json", **{block: {f"{name}_standard_error": None}})
    headline = page_of(workdir).text["headline"]
    assert "96.9 %" in headline
    assert "±" not in headline
    assert "± is one" not in results(Snapshot(Run.open(workdir)))


def test_classes_are_not_folded(whole):
    _, page = whole
    assert "folded" not in page.folded.get("results", "") + page.folded.get("generation", "")
    assert set(page.folded) == {"training", "settings"}
    assert "796.0 % ± 3.397.0 %0.96536" in page.text["results"].replace("\n", "")


def test_a_class_without_test_images_has_no_error(tmp_path):
    workdir = light_run(tmp_path)
    row = {"class": "empty", "precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0}
    change(workdir, "results.json", classifier={"per_class": [row]})
    assert "<td>empty</td><td>0.0 %</td><td>0.0 %</td><td>0</td><td>0</td>" in results(Snapshot(Run.open(workdir)))


def test_loss_and_accuracy_come_first_and_the_lines_are_explained(whole):
    _, page = whole
    first, rest = page.text["training"].split("More about training")
    assert len(page.told["training"]) == 6
    assert [text[:12] for text in page.told["training"][:3]] == ["How far the ", "The sum of e", "On the label"]
    assert first.count("Faint: as logged; bold: its running mean.") == 3
    for name in ("ce_tau", "pseudo"):
        assert f"Logged as {name}." in rest
        assert name not in first


def test_what_the_page_has_no_words_for_is_shown_by_its_name(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    rows = [
        {"stage": "classifier", "step": step, "loss": 1.0, "grad_norm": 2.0, "param_norm": 5.0, "new_term": 3.0}
        for step in (1, 2)
    ]
    rows += [{"stage": "new_stage", "step": step, "loss": 1.0} for step in (1, 2)]
    write_text(tmp_path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    page = page_of(tmp_path)
    assert len(page.pictures["training"]) == 3
    assert "Logged as new_term." in page.folded["training"]
    assert "Loss of the stage new_stage." in page.folded["training"]


@pytest.mark.parametrize(
    ("hidden", "right", "drawn"),
    [(1337, 0.0, True), (1337, 0.4, True), (0, 0.0, False), (700, 0.4, False), (None, 0.0, False), (None, 0.4, True)],
)
def test_right_pseudo_labels_are_drawn_where_they_can_be_known(hidden, right, drawn, tmp_path, monkeypatch):
    """A true 0 too; of older runs, which do not say, 0 throughout is taken for not known."""
    seen = {}
    curves = training.charts.training_curve
    monkeypatch.setattr(
        training.charts,
        "training_curve",
        lambda title, series, unit: seen.update({title: series}) or curves(title, series),
    )
    workdir = tmp_path
    write_json(workdir / "config.json", make_config())
    known = {} if hidden is None else {"num_hidden": hidden}
    write_json(workdir / "data.json", {"num_unlabeled": 1337, **known})
    rows = [{"stage": "classifier", "step": step, "pseudo_rate": 0.5, "pseudo_right": right} for step in (1, 2, 3)]
    write_text(workdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    text = page_of(workdir).text["training"]
    assert sorted(seen["Classifier: share with pseudo-label"]) == (
        ["and right", "confident"] if drawn else ["confident"]
    )
    assert ("How many are right is not known" in text) != drawn


def without_a_judge(tmp_path, **evaluation):
    workdir = light_run(tmp_path)
    change(workdir, "data.json", num_hidden=300)
    change(workdir, "config.json", evaluation=evaluation)
    change(workdir, "results.json", samples={"class_agreement": None, "judge_accuracy": None})
    return workdir


def test_without_labels_for_a_judge_the_page_says_so(tmp_path):
    workdir = without_a_judge(tmp_path)
    change(workdir, "results.json", generation={"features": "pixels"})
    page = page_of(workdir)
    assert "No judge could be trained" in page.text["generation"]
    assert "1,037 of 1,437 have none" in page.text["generation"]
    assert "compared with real images by their pixels" in page.text["generation"]
    assert "evaluation.reference=test" in page.text["generation"]
    assert "100 samples against 1,437 training images, pixel by pixel" in page.text["generation"]
    assert "class agreement of samplesnot known" in page.text["results"]
    assert "judge     none, as not every training image has a label\n" in summary_of(workdir)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"features": "none"}, "as evaluation.features is none"),
        ({"judge_steps": 0}, "evaluation.judge_steps is 0"),
        ({}, "an independent judge needs the label of every training image"),
    ],
)
def test_samples_that_were_not_compared_say_why(plan, words, tmp_path):
    workdir = without_a_judge(tmp_path, **plan)
    change(workdir, "data.json", num_hidden=None)  # of older runs it is not known
    figures = json.loads((workdir / "results.json").read_text())
    write_json(workdir / "results.json", {name: block for name, block in figures.items() if name != "generation"})
    assert words in generation(Snapshot(Run.open(workdir)))


def test_it_says_where_and_when_the_run_was_made(tmp_path, whole):
    assert "Made" not in whole[1].text["headline"] + whole[1].text["times"], "it is not known"
    workdir = light_run(tmp_path)
    here = {stage: machine() for stage in ("score", "classifier")} | {"samples": machine(date="2026-11-27")}
    write_json(workdir / "made_on.json", here)
    line = (
        "Made on 2026-11-25 to 2026-11-27 by scoressl_jax 0.2.0 with jax 0.10.2 on 2 CPU devices, 4 cores of Some CPU."
    )
    page = page_of(workdir)
    assert line in page.text["headline"]
    assert line in page.text["times"]
    assert "2,000345,6782026-11-25" in page.text["times"]
    gpu = machine(platform="gpu", device="NVIDIA H100", devices=1, cores=1)
    write_json(workdir / "made_on.json", here | {"score": gpu})
    text = times(Snapshot(Run.open(workdir)))
    assert (
        "Made (score) on 2026-11-25 by scoressl_jax 0.2.0 with jax 0.10.2 on 1 GPU device (NVIDIA H100), 1 core" in text
    )
    assert "Made (classifier, samples) on 2026-11-25 to 2026-11-27 by" in text


def test_the_question_claims_no_more_than_was_done(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    assert "was trained on all training images" in page_of(tmp_path).text["question"]
    change(tmp_path, "config.json", score={"init_from": "run:other"}, sampling={"scale": 0})
    text = page_of(tmp_path).text["question"]
    assert "was taken from run:other as it is" in text
    assert "drawn without its guidance" in text
    change(tmp_path, "config.json", score={"warm_start": True})
    assert "was trained on all training images" in page_of(tmp_path).text["question"]


def test_confidence_that_is_far_off_is_warned_of(whole, tmp_path):
    assert "as they are" not in whole[1].text["reliability"]
    workdir = light_run(tmp_path)
    arrays = Run(workdir).evaluation
    for accuracy, words in ((0.5, "too sure. More labels"), (0.99, "less sure than it could be")):
        changed = {"confidence": np.full(15, 0.8), "accuracy": np.full(15, accuracy), "count": np.ones(15)}
        write_npz(workdir / "evaluation.npz", **arrays | {f"reliability_{k}": v for k, v in changed.items()})
        text = classifier.reliability(Snapshot(Run.open(workdir)))
        assert words in text
        assert f"80.0 % sure on the mean, and right in {100 * accuracy:.1f} % of test images" in text
        assert f"{abs(80 - 100 * accuracy):.0f} points off" in text
    mixed = {"accuracy": np.array([0.5, 1.0]), "confidence": np.array([0.8, 0.7]), "count": np.ones(2)}
    write_npz(workdir / "evaluation.npz", **arrays | {f"reliability_{k}": v for k, v in mixed.items()})
    assert "too sure of some images and not sure enough of others" in classifier.reliability(
        Snapshot(Run.open(workdir))
    )


def test_each_class_has_a_strip_of_its_own_with_its_name_as_text(whole):
    workdir, page = whole
    assert page.told["samples"][7] == "samples of class 7"
    strip = np.asarray(Image.open(io.BytesIO(base64.b64decode(page.pictures["samples"][7].partition(",")[2]))))
    with np.load(workdir / "samples" / "samples.npz") as samples:
        image = samples["images"][samples["labels"] == 7][2, ..., 0]
    at = GAP + 2 * (112 + GAP)
    np.testing.assert_array_equal(strip[GAP : GAP + 112 : 14, at : at + 112 : 14, 0], image)


def test_a_teacher_is_named_with_what_it_was_chosen_among(tmp_path):
    make_run(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    candidates = {
        "mean_teacher": {"share": 0.871, "error": 0.02},
        "support vector machine": {"share": 0.9, "error": 0.01},
    }
    results["teacher"] = {
        "speaks": "support vector machine", "why": "most were right", "accuracy": 0.9234, "candidates": candidates,
        "accuracy_standard_error": 0.0123, "unlabeled_accuracy": 0.8765,
    }  # fmt: skip
    write_json(tmp_path / "results.json", results)
    text = page_of(tmp_path).text["results"]
    for words in ("92.3 % ± 1.2", "87.6 %", "mean teacher", "87.1 % ± 2.0", "90.0 % ± 1.0", "most were right"):
        assert words in text
    assert "support vector machine names rightly" in text
    assert re.search(r"teacher +92\.3 % ± 1\.2 of clean test images: support vector machine", summary_of(tmp_path))
