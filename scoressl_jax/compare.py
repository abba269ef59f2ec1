"""python -m scoressl_jax.compare RUN [RUN ...]: a Markdown table, one row a configuration, mean ± sd over its seeds.

Runs whose config.json differs in seeds alone are one row; a figure that some run of a row lacks is left out. FID has a
column for each count and extractor, but none where a judge extracted: each run has a judge, and features, of its own.
"""

import json
import statistics
import sys
from pathlib import Path

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


def row_key(config):
    """The configuration without its seeds, as text that is equal for runs of one row."""
    config = json.loads(json.dumps(config))
    for *path, name in SEEDS:
        inner = config
        for part in path:
            inner = inner[part]
        inner.pop(name, None)
    config.pop("training", None)
    return json.dumps(config, sort_keys=True)


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


def compare(workdirs):
    """The table as text; raises FileNotFoundError for a directory that is not a run."""
    rows = {}
    for workdir in map(Path, workdirs):
        config = json.loads((workdir / "config.json").read_text())
        results = json.loads((workdir / "results.json").read_text())
        rows.setdefault(row_key(config), []).append((workdir, results))
    fids = sorted({column for runs in rows.values() for _, results in runs for column in fid(results)})
    columns = [*COLUMNS, *fids]
    lines = ["| run | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for runs in rows.values():
        cells = [cell([figure(results, column) for _, results in runs]) for column in columns]
        lines.append(f"| {runs[0][0].name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values):
    if any(value is None for value in values):
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m scoressl_jax.compare RUN [RUN ...]")
    try:
        print(compare(sys.argv[1:]))
    except FileNotFoundError as error:
        sys.exit(f"scoressl_jax: {error.filename} is missing: name directories of finished runs")
