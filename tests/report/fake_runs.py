"""Fake runs, made of scikit-learn's digits, for the tests of what is shown of runs; and a page, taken apart."""

import json
from html.parser import HTMLParser

import numpy as np
from sklearn.datasets import load_digits

from scoressl_jax.files import write_json, write_npz, write_text

SECTIONS = ("question", "data", "results", "noise", "confusion", "reliability", "samples", "generation", "gradients",
            "training", "times", "settings", "command")  # fmt: skip
MEASURED = SECTIONS[2:11]
COMMAND = "python -m scoressl_jax.main --config=configs/digits.py --workdir='a & b'"


def make_config(regime="ssl"):
    data = {"name": "digits", "num_labels": 100, "positive_classes": [], "num_positive": 0, "class_prior": 0.0}
    if regime == "pu":
        data |= {"positive_classes": [1, 3, 5, 7, 9], "num_positive": 100, "class_prior": 0.5}
    return {
        "seed": 0,
        "regime": regime,
        "data": data,
        "sde": {"name": "ve", "sigma_max": 50.0},
        "classifier": {"kind": "denoising_assisted", "terms": {"ce": 1.0, "pseudo": 1.0}},
        "score": {"width": 32},
        "sampling": {"count": 100},
        "evaluation": {"accuracy_t": 0.001, "features": "judge", "judge_steps": 500, "reference": "train"},
    }


def make_results(classes, names):
    sigma = 0.01 * 5000 ** np.linspace(0, 1, 21)
    accuracy = 1 / classes + (0.97 - 1 / classes) / (1 + (sigma / 2) ** 2)
    curve = [
        {"t": float(t), "sigma": float(s), "accuracy": float(a), "guidance_norm": float(3 / (s + 0.3))}
        for t, s, a in zip(np.linspace(0.001, 1, 21), sigma, accuracy, strict=True)
    ]
    per_class = [{"class": n, "precision": 0.97, "recall": 0.96, "f1": 0.965, "count": 36} for n in names]
    return {
        "data": {"name": "digits", "num_classes": classes, "num_train": 1437, "num_labeled": 100,
                 "num_unlabeled": 1337, "num_hidden": 1337, "num_test": 360,
                 "fingerprint": {"images": "6c3ca3b72c4fdc397baa"}},
        "score": {"parameters": 1_234_567, "steps": 2000, "loss": 12.5, "seconds": 210.4},
        "classifier": {"kind": "denoising_assisted", "parameters": 345_678, "steps": 2000, "seconds": 180.2,
                       "accuracy": 0.9694, "accuracy_standard_error": 0.0091, "accuracy_t": 0.001,
                       "accuracy_all_noise": 0.7312, "accuracy_by_noise": curve, "ece": 0.0123, "per_class": per_class},
        "samples": {"count": 100, "steps": 500, "scale": 1.0, "seconds": 33.0, "class_agreement": 0.97,
                    "class_agreement_standard_error": 0.0171,
                    "class_agreement_judge": "WideResNet-10-1 trained on all 1437 labels", "judge_accuracy": 0.98,
                    "nearest_distance": {"samples_to_train": 1.31, "test_to_train": 1.25, "between_samples": 1.9}},
        "generation": {"reference": "train", "features": "judge: a network", "count": 100, "reference_count": 1437,
                       "fid@100": 12.25, "precision": 0.75, "k": 5, "convention": "prdc", "cas": 0.9},
    }  # fmt: skip


def make_metrics(rng, steps=40):
    rows = [
        {"stage": "score", "step": 50 * i, "time": i, "loss": 5 + 400 / i * rng.uniform(0.8, 1.2)}
        for i in range(1, steps)
    ]
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
    results = make_results(len(names), names)
    write_json(workdir / "config.json", {"format": 2, **make_config(regime)})
    write_json(workdir / "data.json", results["data"] | {"class_names": names, "image_shape": [8, 8, 1]})
    write_json(workdir / "results.json", results)
    write_json(workdir / "labels.json", {"labeled": list(range(100)), "unlabeled_count": 1337, "seed": 0})
    write_text(workdir / "metrics.jsonl", make_metrics(rng))
    write_text(workdir / "command.txt", COMMAND + "\n")
    write_npz(workdir / "samples" / "samples.npz", images=images[chosen], labels=sample_labels)
    evaluation = make_evaluation(images, labels, images[nearest], sample_labels, names)
    write_npz(workdir / "evaluation.npz", **evaluation)
    return workdir


def machine(date="2026-11-25", **changes):
    return {"date": date, "scoressl_jax": "0.2.0", "jax": "0.10.2", "platform": "cpu", "device": "cpu", "devices": 2,
            "processor": "Some CPU", "cores": 4} | changes  # fmt: skip


class Page(HTMLParser):
    """Text of each section, and whatever the page refers to."""

    def __init__(self, path):
        super().__init__()
        self.text, self.pictures, self.references, self.tags, self._section = {}, {}, [], set(), "headline"
        self.told, self.folded = {}, {}  # what pictures say to those who cannot see them; text that is folded up
        self._inside = False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        self._section = attributes["id"] if tag in ("section", "header") else self._section
        self.references += [value for name, value in attributes.items() if name in ("src", "href")]
        if tag == "img":
            self.pictures.setdefault(self._section, []).append(attributes["src"])
            self.told.setdefault(self._section, []).append(attributes["alt"])
        self._inside = self._inside or tag == "details"

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "details"

    def handle_data(self, data):
        self.text[self._section] = self.text.get(self._section, "") + data
        if self._inside:
            self.folded[self._section] = self.folded.get(self._section, "") + data
