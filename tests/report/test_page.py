"""The report of fake runs: what the page holds, and that a part of a run is enough."""

import json
import re

import numpy as np
import pytest
from fake_runs import COMMAND, MEASURED, SECTIONS, Page, make_config, make_run
from PIL import Image

from scoressl_jax.experiment.run import Run
from scoressl_jax.files import write_bytes, write_json, write_npz, write_text
from scoressl_jax.report.charts import GAP, tile_size
from scoressl_jax.report.page import curve, summary, write_report
from scoressl_jax.report.snapshot import Snapshot


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
        "data": 1, "samples": 2, "noise": 1, "confusion": 1, "reliability": 1, "gradients": 1, "training": 6,
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
    assert len(kept) == sum(map(len, page.pictures.values()))


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
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", "results", *MEASURED, "command"))
    assert not page.references
    assert "digits" in summary_of(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "labels.json", "samples/samples.npz", "evaluation.npz"])
def test_file_cut_short_counts_as_absent(whole, tmp_path, name):
    content = (whole[0] / name).read_bytes()
    write_json(tmp_path / "config.json", make_config())
    write_bytes(tmp_path / name, content[: len(content) // 2])
    page = page_of(tmp_path)
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", "results", *MEASURED, "command"))


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
    assert page.text == whole[1].text
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
    rows = re.findall(r"(score|classifier|samples)([\d,.]+)\n", whole[1].text["results"])
    assert rows == [("score", "210.42,0001,234,567"), ("classifier", "180.22,000345,678"), ("samples", "33500")]
    write_json(tmp_path / "config.json", make_config())
    encoder = {"seconds": 5.0, "steps": 7, "parameters": 11}
    write_json(tmp_path / "results.json", {"encoder": encoder, "other": {"x": 1}})
    assert "encoder5711" in page_of(tmp_path).text["results"]
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
    assert len(page.pictures["samples"]) == 1
    assert "judge takes" not in page.text["samples"]


def test_restored_images_stand_between_what_was_given_and_the_originals(tmp_path):
    images = np.stack([np.full((8, 8, 1), value, np.uint8) for value in (40, 90)])
    write_json(tmp_path / "config.json", make_config())
    write_npz(tmp_path / "samples" / "samples.npz", images=images, labels=np.array([0, 1]), given=images + 20,
              originals=images + 40)  # fmt: skip
    assert len(page_of(tmp_path).pictures["samples"]) == 2
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


def test_a_count_of_right_pseudo_labels_that_is_not_known_is_not_drawn(tmp_path):
    from scoressl_jax.report import page as pages

    drawn = {}

    class Seen:
        data, results, config = {"num_unlabeled": 30}, {}, {}

        def __init__(self, right):
            self.metrics = [
                {"stage": "classifier", "step": step, "pseudo_rate": 0.5, "pseudo_right": right} for step in (1, 2, 3)
            ]

        def picture(self, name, png, text, kind="chart"):
            return ""

    def curve(title, series, unit=False):
        drawn[title] = sorted(series)
        return b""

    original, pages.charts.training_curve = pages.charts.training_curve, curve
    try:
        pages.training(Seen(right=0.0))
        assert drawn["classifier: pseudo-labels"] == ["pseudo-label"]
        pages.training(Seen(right=0.4))
        assert drawn["classifier: pseudo-labels"] == ["a right one", "pseudo-label"]
    finally:
        pages.charts.training_curve = original
