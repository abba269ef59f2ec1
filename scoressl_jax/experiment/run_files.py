"""The files of a run as a report reads them, and the pictures that it adds."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scoressl_jax.files import write_bytes
from scoressl_jax.report.page import charts as figures
from scoressl_jax.training.metrics import read_metrics

REGIMES = {"supervised": "supervised", "ssl": "semi-supervised", "pu": "positive-unlabelled"}


@dataclass
class Run:
    """The files of a run as read; what is absent or cannot be read is empty."""

    workdir: Path
    config: dict
    results: dict
    labels: dict
    samples: dict
    evaluation: dict
    metrics: list
    command: str

    def __post_init__(self):
        self.regime = REGIMES.get(self.config.get("regime"), "")
        self.data_name = self.result("data", "name") or self.config.get("data", {}).get("name", "data")
        self.num_labeled = self.result("data", "num_labeled") or len(self.labels.get("labeled", ())) or None
        noun = "labelled positives" if self.config.get("regime") == "pu" else "labels"
        self.budget = noun if self.num_labeled is None else f"{self.num_labeled:,} {noun}"

    def result(self, part, name):
        """results.json[part][name], or None when it was not measured."""
        return self.results.get(part, {}).get(name)

    def names(self, count):
        """The names of the first `count` classes; a class without a name is its number."""
        known = [str(name) for name in self.evaluation.get("class_names", ())]
        return (known + [str(i) for i in range(len(known), count)])[:count]


def read_run(workdir):
    """workdir -> Run; only config.json has to be there."""
    workdir = Path(workdir)
    files = ("results.json", "labels.json", "samples/samples.npz", "evaluation.npz")
    config, command = json.loads((workdir / "config.json").read_text()), workdir / "command.txt"
    return Run(
        workdir,
        config,
        *(read_file(workdir / name) for name in files),
        read_metrics(workdir),
        command.read_text().strip() if command.exists() else "",
    )


def read_file(path):
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path) as arrays:
            return dict(arrays)
    except (FileNotFoundError, EOFError, ValueError, zipfile.BadZipFile):  # absent, or cut short by a kill
        return {}


def picture(run, name, png, caption, kind="chart"):
    """Keep the PNG as figures/NAME.png; returns its markup."""
    write_bytes(run.workdir / "figures" / f"{name}.png", png)
    return figures.embedded(png, caption, kind)
