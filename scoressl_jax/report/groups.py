"""Runs that differ in seeds alone as rows of a table: mean and standard deviation of what they reached."""

import json
import math
import statistics
from pathlib import Path
from typing import NamedTuple

from scoressl_jax.errors import UserError

COLUMNS = {
    "accuracy": ("classifier", "accuracy"),
    "teacher": ("teacher", "accuracy"),
    "over all noise": ("classifier", "accuracy_all_noise"),
    "F1": ("classifier", "f1"),
    "ECE": ("classifier", "ece"),
    "class agreement": ("samples", "class_agreement"),
    "judge": ("samples", "judge_accuracy"),
    "precision": ("generation", "precision"),
    "recall": ("generation", "recall"),
    "CAS": ("generation", "cas"),
    "minutes": None,
}
SEEDS = (("seed",), ("data", "split_seed"))


class Measured(NamedTuple):
    """A finished run: its directory, fields, results.json, and the arrays of its evaluation."""

    workdir: Path
    config: dict
    results: dict
    evaluation: dict


class Difference(NamedTuple):
    """Accuracy over all noise of one group less another's, in points of 0..100.

    standard_error is None where there are too few runs to tell; pairs is 0 where the runs could not be paired.
    """

    points: float
    standard_error: float | None
    pairs: int


def row_key(config, source):
    """The configuration without its seeds, as text that is equal for runs of one row; so are the runs, where they can
    be found, that networks were taken from (init_from)."""
    config = json.loads(json.dumps(config))
    for *path, name in SEEDS:
        inner = config
        for part in path:
            inner = inner[part]
        inner.pop(name, None)
    config.pop("training", None)
    for network in ("score", "classifier"):
        kind, _, path = config.get(network, {}).get("init_from", "").partition(":")
        taken = source(path) if kind == "run" else None
        if taken is not None:
            config[network]["init_from"] = row_key(taken, source)
    return json.dumps(config, sort_keys=True)


def grouped(runs, source=lambda path: None, complete=lambda run: run.config) -> list[list[Measured]]:
    """Opened runs -> lists of Measured, in order: runs that differ in seeds alone are one list.

    source(path): the config of the run in a directory, None where there is none. complete(run): every field of a run,
    also those that are newer than it. UserError for a run without results.
    """
    groups = {}
    for run in runs:
        if not run.results:
            raise UserError(f"{run.workdir}/results.json is missing or cannot be read: finish the run, or leave it out")
        measured = Measured(run.workdir, run.config, run.results, run.evaluation)
        groups.setdefault(row_key(complete(run), source), []).append(measured)
    return list(groups.values())


def group_names(groups):
    """A name for each group: the kind of its classifier where that tells all apart, else its first run's directory."""
    first = [runs[0] for runs in groups]
    kinds = [run.config.get("classifier", {}).get("kind", "").replace("_", "-") for run in first]
    if len(set(kinds)) == len(groups) > 1 and all(kinds):
        return kinds
    names = [run.workdir.name for run in first]
    return names if len(set(names)) == len(groups) else [str(run.workdir) for run in first]


def minutes(results):
    return sum(block.get("seconds", 0) for block in results.values()) / 60


def fid(results):
    """{name of a column: FID} of a run."""
    block = results.get("generation", {})
    if block.get("features", "judge").startswith("judge"):
        return {}
    kind = block["features"].split()[0]
    return {f"FID{key.removeprefix('fid')} by {kind}": value for key, value in block.items() if key.startswith("fid@")}


def figure(results, column):
    if column not in COLUMNS:
        return fid(results).get(column)
    where = COLUMNS[column]
    return minutes(results) if where is None else results.get(where[0], {}).get(where[1])


def cell(values):
    if any(value is None for value in values):
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def alone(runs, column):
    """Of one run the standard error of its figure, in brackets, for a spread over seeds it is not; "" if not known."""
    where = COLUMNS.get(column)
    if len(runs) > 1 or where is None:
        return ""
    error = runs[0].results.get(where[0], {}).get(f"{where[1]}_standard_error")
    return f" (± {error:.3f})" if error else ""


def cells(groups):
    """{column: [text of each group]}."""
    fids = sorted({column for runs in groups for run in runs for column in fid(run.results)})
    text = lambda runs, column: cell([figure(run.results, column) for run in runs]) + alone(runs, column)  # noqa: E731
    return {column: [text(runs, column) for runs in groups] for column in [*COLUMNS, *fids]}


def markdown(groups):
    columns = cells(groups)
    lines = ["| run | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for runs, row in zip(groups, zip(*columns.values(), strict=True), strict=True):
        lines.append(f"| {runs[0].workdir.name} | {len(runs)} | " + " | ".join(row) + " |")
    if any("(± " in text for row in columns.values() for text in row):
        lines.append("\nIn brackets: of one run, the standard error of its number of images alone.")
    return "\n".join(lines)


def difference(first, second):
    """The Difference of two groups, first less second, or None where a run lacks the accuracy over all noise.

    Paired by the seed where both groups have the same seeds, each once: sd of the differences over sqrt(pairs).
    Otherwise of the two means, sqrt(sd1^2 / n1 + sd2^2 / n2) (Welch).
    """
    groups = [[(run.config.get("seed"), figure(run.results, "over all noise")) for run in g] for g in (first, second)]
    if any(value is None for group in groups for _, value in group):
        return None
    ones, others = ([100 * value for _, value in group] for group in groups)
    of_seed, of_other_seed = map(dict, groups)
    if of_seed.keys() == of_other_seed.keys() and len(of_seed) == len(ones) == len(others):
        gains = [100 * (of_seed[seed] - of_other_seed[seed]) for seed in of_seed]
        error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else None
        return Difference(statistics.mean(gains), error, len(gains))
    error = None
    if min(len(ones), len(others)) > 1:
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (ones, others)))
    return Difference(statistics.mean(ones) - statistics.mean(others), error, 0)
