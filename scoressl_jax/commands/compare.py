"""python -m scoressl_jax.compare RUN [RUN ...] [--out=DIR]: what one kind of run has over another.

Prints a Markdown table, one row a configuration, mean ± sd over its seeds. Runs whose config.json differs in seeds
alone, or in the seeds of the runs that they took score networks from, are one row; a figure that some run of a row
lacks is left out. FID has a column for each count and extractor, but none where a judge extracted: each run has a
judge, and features, of its own. With --out, DIR/compare.html has the same, the accuracy by noise level and the input
gradients side by side, and both pictures lie beside it.
"""

import json
import math
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.errors import UserError, one_line

COLUMNS = {
    "accuracy": ("classifier", "accuracy"),
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
    """A finished run: its directory, config.json and results.json."""

    workdir: Path
    config: dict
    results: dict


class Difference(NamedTuple):
    """Accuracy over all noise of one group less another's, in points of 0..100.

    standard_error is None where there are too few runs to tell; pairs is 0 where the runs could not be paired.
    """

    points: float
    standard_error: float | None
    pairs: int


def row_key(config):
    """The configuration without its seeds, as text that is equal for runs of one row; so are the runs, where they can
    be found, that score networks were taken from (config.score.init_from)."""
    config = json.loads(json.dumps(config))
    for *path, name in SEEDS:
        inner = config
        for part in path:
            inner = inner[part]
        inner.pop(name, None)
    config.pop("training", None)
    kind, _, source = config.get("score", {}).get("init_from", "").partition(":")
    taken = Path(source, "config.json")
    if kind == "run" and taken.exists():
        config["score"]["init_from"] = row_key(read_json(taken))
    return json.dumps(config, sort_keys=True)


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: name directories of finished runs") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): measure the run anew or leave it out") from None


def read_groups(workdirs):
    """Directories of runs -> lists of Measured, in order: runs that differ in seeds alone are one list.

    Raises UserError for a directory that is not a run or has no results.
    """
    groups = {}
    for workdir in map(Path, workdirs):
        config, results = (read_json(workdir / name) for name in ("config.json", "results.json"))
        groups.setdefault(row_key(config), []).append(Measured(workdir, config, results))
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
    blocks = ("score", "classifier", "samples")
    return sum(results.get(block, {}).get("seconds", 0) for block in blocks) / 60


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


def cells(groups):
    """{column: [text of each group]}."""
    fids = sorted({column for runs in groups for run in runs for column in fid(run.results)})
    return {c: [cell([figure(run.results, c) for run in runs]) for runs in groups] for c in [*COLUMNS, *fids]}


def markdown(groups):
    columns = cells(groups)
    lines = ["| run | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for runs, row in zip(groups, zip(*columns.values(), strict=True), strict=True):
        lines.append(f"| {runs[0].workdir.name} | {len(runs)} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def difference(first, second):
    """The Difference of two groups, first less second, or None where a run lacks the accuracy over all noise.

    Paired by config.seed where both groups have the same seeds, each once: sd of the differences over sqrt(pairs).
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


def parse(argv):
    parser = Parser("python -m scoressl_jax.compare", description=__doc__, allow_abbrev=False)
    parser.hint = "usage: python -m scoressl_jax.compare RUN [RUN ...] [--out=DIR]"
    parser.add_argument("runs", metavar="RUN", nargs="+", help="directory of a finished run")
    parser.add_argument("--out", metavar="DIR", help="directory for compare.html and its pictures")
    return parser.parse_intermixed_args(argv)


def main(argv):
    """Run the command line; returns the exit code."""
    try:
        options = parse(argv)
        groups = read_groups(options.runs)
        print(markdown(groups))
        if options.out is not None:
            from scoressl_jax.report.compare import write_page  # the table alone needs none of the libraries for it

            gain = difference(*groups) if len(groups) == 2 else None
            try:
                page = write_page(options.out, groups, group_names(groups), cells(groups), gain)
            except OSError as error:
                raise UserError(f"--out={options.out} cannot be written ({error.strerror}): name another") from None
            print(f"\nwritten {page}")
    except UserError as error:
        print(f"scoressl_jax: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
