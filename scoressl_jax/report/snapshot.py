"""The files of a run as its pages show them: read once, what is absent or cannot be read is empty."""

from dataclasses import dataclass, field
from pathlib import Path

from scoressl_jax.report import html

REGIMES = {"supervised": "supervised", "ssl": "semi-supervised", "pu": "positive-unlabelled"}


@dataclass
class Snapshot:
    """`run` opens the files; the rest is what they hold."""

    run: object
    workdir: Path = field(init=False)

    def __post_init__(self):
        run = self.run
        self.workdir, self.config, self.results, self.data = run.workdir, run.config, run.results, run.data
        self.labels, self.samples, self.evaluation = run.labels, run.samples, run.evaluation
        self.metrics, self.command, self.made_on = run.metrics, run.command, run.made_on
        self.regime = REGIMES.get(self.config.get("regime"), "")
        self.data_name = self.data.get("name") or self.config.get("data", {}).get("name", "data")
        self.num_labeled = self.data.get("num_labeled") or len(self.labels.get("labeled", ())) or None
        noun = "labelled positives" if self.config.get("regime") == "pu" else "labels"
        self.budget = noun if self.num_labeled is None else f"{self.num_labeled:,} {noun}"

    def result(self, part: str, name: str):
        """results.json[part][name], or None when it was not measured."""
        return self.results.get(part, {}).get(name)

    def names(self, count: int) -> list[str]:
        """The names of the first `count` classes; a class without a name is its number."""
        return self.run.class_names(count)

    def picture(self, name: str, png: bytes, caption: str, kind: str = "chart") -> str:
        """Keep the PNG as figures/NAME.png; returns its markup."""
        self.run.write(f"figures/{name}.png", png)
        return html.embedded(png, caption, kind)

    def write(self, name: str, content) -> Path:
        return self.run.write(name, content)
