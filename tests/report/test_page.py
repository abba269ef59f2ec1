"""The report of fake runs, made of scikit-learn's digits: what the page holds, and that a part of a run is enough."""

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from scoressl_jax.experiment.run_files import read_run
from scoressl_jax.files import write_bytes, write_json, write_npz, write_text
from scoressl_jax.report.charts import GAP, class_grid, smooth, stretched, tile_size
from scoressl_jax.report.page import curve, summary, write_report

SECTIONS = ("question", "data", "results", "samples", "generation", "noise", "confusion", "reliability", "gradients",
            "training", "settings", "command")  # fmt: skip
MEASURED = SECTIONS[3:10]
COMMAND = "python -m scoressl_jax.main --config=configs/digits.py --workdir='a & b'"


def make_config(regime="ssl"):
    data = {"name": "digits", "num_labels": 100, "positive_classes": [], "num_positive": 0, "class_prior": 0.0}
    if regime == "pu":
        data |= {"positive_classes": [1, 3, 5, 7, 9], "num_positive": 100, "class_prior": 0.5}
    return {
        "seed": 0, "regime": regime, "data": data, "sde": {"name": "ve", "sigma_max": 50.0},
        "classifier": {"kind": "denoising_assisted", "terms": {"ce": 1.0, "pseudo": 1.0}}, "score": {"width": 32},
        "sampling": {"count": 100}, "evaluation": {"accuracy_t": 0.001},
    }


def make_results(classes, names):
    sigma = 0.01 * 5000 ** np.linspace(0, 1, 21)
    accuracy = 1 / classes + (0.97 - 1 / classes) / (1 + (sigma / 2) ** 2)
    curve = [{"t": float(t), "sigma": float(s), "accuracy": float(a), "guidance_norm": float(3 / (s + 0.3))}
             for t, s, a in zip(np.linspace(0.001, 1, 21), sigma, accuracy, strict=True)]
    per_class = [{"class": n, "precision": 0.97, "recall": 0.96, "f1": 0.965, "count": 36} for n in names]
    return {
        "data": {"name": "digits", "num_classes": classes, "num_train": 1437, "num_labeled": 100,
                 "num_unlabeled": 1337, "num_test": 360},
        "score": {"parameters": 1_234_567, "steps": 2000, "loss": 12.5, "seconds": 210.4},
        "classifier": {"kind": "denoising_assisted", "parameters": 345_678, "steps": 2000, "seconds": 180.2,
                       "accuracy": 0.9694, "accuracy_t": 0.001, "accuracy_all_noise": 0.7312,
                       "accuracy_by_noise": curve, "ece": 0.0123, "per_class": per_class},
        "samples": {"count": 100, "steps": 500, "scale": 1.0, "seconds": 33.0, "class_agreement": 0.97,
                    "class_agreement_judge": "WideResNet-10-1 trained on all 1437 labels", "judge_accuracy": 0.98,
                    "nearest_distance": {"samples_to_train": 1.31, "test_to_train": 1.25, "between_samples": 1.9}},
        "generation": {"reference": "train", "features": "judge: a network", "count": 100, "reference_count": 1437,
                       "fid@100": 12.25, "precision": 0.75, "k": 5, "convention": "prdc", "cas": 0.9},
    }  # fmt: skip


def make_metrics(rng, steps=40):
    rows = [{"stage": "score", "step": 50 * i, "time": i, "loss": 5 + 400 / i * rng.uniform(0.8, 1.2)}
            for i in range(1, steps)]
    for i in range(1, steps):
        noisy = lambda value: float(value * rng.uniform(0.8, 1.2))  # noqa: B023, E731
        rows.append({"stage": "classifier", "step": 50 * i, "loss": noisy(3 / i + 0.5), "grad_norm": 1.0,
                     "ce_tau": noisy(2 / i**2), "pseudo": noisy(0.4), "pseudo_rate": min(0.9, i / 20),
                     "pseudo_right": min(0.8, i / 25), "accuracy": 0.8, "accuracy_tau": min(1.0, 0.2 * i)})  # fmt: skip
    return "".join(json.dumps(row) + "\n" for row in rows)


def make_evaluation(images, labels, nearest, sample_labels, names):
    classes, rng = len(names), np.random.default_rng(1)
    noisy = images[:classes] / 255 + rng.normal(size=images[:classes].shape) * 0.2
    judged = sample_labels.copy()
    judged[[3, 40, 72]] = (judged[[3, 40, 72]] + 1) % classes
    confidence = (np.arange(15) + 0.5) / 15
    return {
        "class_names": np.array(names), "labeled_images": images[:100], "labeled_labels": labels[:100],
        "confusion": np.eye(classes, dtype=int) * 35 + rng.integers(0, 2, (classes, classes)),
        "reliability_confidence": confidence, "reliability_accuracy": confidence**1.3,
        "reliability_count": np.arange(15) ** 2, "gradient_images": images[:classes], "gradient_noisy": noisy,
        "gradients": images[:classes] / 255.0 - noisy, "gradient_labels": labels[:classes], "gradient_t": 0.35,
        "nearest": nearest, "judge_predictions": judged,
    }  # fmt: skip


def make_run(workdir, regime="ssl", names=tuple("0123456789")):
    """A whole run in `workdir`: the samples are digits, their neighbours other digits of the same class."""
    rng, digits = np.random.default_rng(0), load_digits()
    images = np.clip(digits.images[..., None] * 16, 0, 255).astype(np.uint8)
    labels = digits.target % len(names)
    rows = [np.flatnonzero(labels == k)[20:40] for k in range(len(names))]
    count = 100 // len(names)
    chosen = np.stack([np.resize(row, count) for row in rows], 1).ravel()
    nearest = np.stack([np.resize(row[::-1], count) for row in rows], 1).ravel()
    sample_labels = labels[chosen].astype(np.int32)
    write_json(workdir / "config.json", make_config(regime))
    write_json(workdir / "results.json", make_results(len(names), names))
    write_json(workdir / "labels.json", {"labeled": list(range(100)), "unlabeled_count": 1337, "seed": 0})
    write_text(workdir / "metrics.jsonl", make_metrics(rng))
    write_text(workdir / "command.txt", COMMAND + "\n")
    write_npz(workdir / "samples" / "samples.npz", images=images[chosen], labels=sample_labels)
    evaluation = make_evaluation(images, labels, images[nearest], sample_labels, names)
    write_npz(workdir / "evaluation.npz", **evaluation)
    return workdir


class Page(HTMLParser):
    """Text of each section, and whatever the page refers to."""

    def __init__(self, path):
        super().__init__()
        self.text, self.pictures, self.references, self.tags, self._section = {}, {}, [], set(), "headline"
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self._section = attributes["id"] if tag in ("section", "header") else self._section
        self.references += [value for name, value in attributes.items() if name in ("src", "href")]
        if tag == "img":
            self.pictures.setdefault(self._section, []).append(attributes["src"])

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = make_run(tmp_path_factory.mktemp("whole"))
    return workdir, Page(write_report(workdir))


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
    assert COMMAND in page.text["command"]
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
    page = Page(write_report(tmp_path))
    assert tuple(name for name in page.text if name in SECTIONS) == SECTIONS
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", "results", *MEASURED, "command"))
    assert not page.references
    assert "digits" in summary(tmp_path)


@pytest.mark.parametrize("name", ["results.json", "labels.json", "samples/samples.npz", "evaluation.npz"])
def test_file_cut_short_counts_as_absent(whole, tmp_path, name):
    content = (whole[0] / name).read_bytes()
    write_json(tmp_path / "config.json", make_config())
    write_bytes(tmp_path / name, content[: len(content) // 2])
    page = Page(write_report(tmp_path))
    assert all("not measured yet" in page.text[name] for name in ("headline", "data", "results", *MEASURED, "command"))


def test_line_of_metrics_cut_short_is_left_out(whole, tmp_path):
    write_json(tmp_path / "config.json", make_config())
    write_text(tmp_path / "metrics.jsonl", (whole[0] / "metrics.jsonl").read_text().splitlines()[0] + '\n{"stage": "sc')
    assert "not measured yet" in Page(write_report(tmp_path)).text["training"]


def test_curve_keeps_the_last_of_a_repeated_step(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    losses = [(50, 1.0), (100, float("nan")), (150, 9.0), (150, 2.0)]
    rows = [json.dumps({"stage": "score", "step": step, "loss": loss}) + "\n" for step, loss in losses]
    write_text(tmp_path / "metrics.jsonl", "".join(rows))
    np.testing.assert_array_equal(curve(read_run(tmp_path), "score", "loss"), [[50, 150], [1, 2]])


def test_evaluation_of_other_samples_is_not_shown(tmp_path):
    make_run(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with np.load(tmp_path / "samples" / "samples.npz") as samples:
        write_npz(tmp_path / "samples" / "samples.npz", images=samples["images"][:50], labels=samples["labels"][:50])
    page = Page(write_report(tmp_path))
    assert len(page.pictures["samples"]) == 1
    assert "judge takes" not in page.text["samples"]


def test_names_are_text_not_markup(tmp_path):
    names = ("<b>bold</b>", "$a_1$ & more than fits")
    make_run(tmp_path, "pu", names)
    (tmp_path / "metrics.jsonl").unlink()
    config = make_config("pu") | {"note": "<script>alert(1)</script>"}
    write_json(tmp_path / "config.json", config)
    page = Page(write_report(tmp_path))
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
    page = Page(write_report(tmp_path))
    assert "0.951" in page.text["headline"]
    assert "100 labelled positives" in page.text["headline"]
    assert "without a single labelled negative" in page.text["question"]
    assert "1, 3, 5, 7, 9" in page.text["data"]
    assert re.search(r"F1 +0\.951", summary(tmp_path))


def test_summary_is_short_and_ends_at_the_page(whole):
    workdir, _ = whole
    lines = summary(workdir).splitlines()
    assert any(re.fullmatch(r"judge +98\.0 %: WideResNet-10-1 trained on .*", line) for line in lines)
    assert len(lines) < 10
    assert lines[0] == "data      digits, semi-supervised from 100 labels"
    assert "seconds   score 210, classifier 180, samples 33" in lines
    assert lines[-1].endswith(str(workdir / "report.html"))


def test_agreement_of_zero_is_a_measurement(tmp_path):
    write_json(tmp_path / "config.json", make_config())
    write_json(tmp_path / "results.json", {"samples": {"class_agreement": 0.0}})
    assert "0.0 %" in Page(write_report(tmp_path)).text["headline"]
    assert "0.0 %" in summary(tmp_path)


def test_grid_takes_colour_and_missing_classes():
    images, labels = np.full((3, 32, 24, 3), 200, np.uint8), np.array([0, 2, 2])
    grid = Image.open(io.BytesIO(class_grid(images, labels, ["a", "b", "c"], 10)))
    height, width = tile_size((32, 24, 3))
    assert grid.height == GAP + 2 * (height + GAP)
    assert grid.getpixel((grid.width - width, grid.height - height // 2)) == (200, 200, 200)


def test_constant_image_stretches_to_black():
    assert stretched(np.ones((2, 2, 1))).max() == 0
    assert stretched([[-1.0, 3.0]]).tolist() == [[0, 255]]


@pytest.mark.parametrize("count", [1, 5, 40, 3000])
def test_smoothing_keeps_length_and_constants(count):
    np.testing.assert_allclose(smooth(np.full(count, 3.0)), np.full(count, 3.0))
