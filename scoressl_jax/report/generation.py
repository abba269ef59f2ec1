"""The part of report.html that says how good the samples are, from the block `generation` of results.json."""

from html import escape

from scoressl_jax.metrics.generation import BIAS, BIASED_BELOW, FIGURES, described
from scoressl_jax.report.html import details, number, share, table


def generation_section(block, judge_accuracy=None):
    """The block as HTML, "" where nothing was measured; judge_accuracy is what CAS would be with real images."""
    rows = described(block)
    if not rows:
        return ""
    counts = [block.get(name) for name in ("count", "reference_count")]
    against = "test" if block.get("reference") == "test" else "training"
    text = f"{counts[0]:,} samples against {counts[1]:,} {against} images, by features of {block['features']}."
    if judge_accuracy is not None:
        real = f"; trained on real ones: {share(judge_accuracy)}"
        rows = [(*row, what + real if row[0] == "CAS" else what) for *row, what in rows]
    warning = f"<p><strong>{escape(BIAS)}.</strong></p>" if min(counts) < BIASED_BELOW else ""
    neighbours = f"Precision, recall, density and coverage: k = {block['k']}, convention {block['convention']}."
    return (
        f"<p>{escape(text)}</p>"
        + table(("Figure", "Value", "Better", "What it tells"), rows)
        + warning
        + f"<p>{escape(neighbours)} Features differ in scale: only figures of the same features compare.</p>"
        + classes(block)
    )


def in_a_line(block):
    """The figures that tell most, for the summary of a run."""
    rows = {title: value for title, value, *_ in described(block)}
    titles = [title for title in rows if title.startswith("FID@") or title in ("precision", "recall", "CAS")]
    return ", ".join(f"{title} {number(rows[title])}" for title in titles)


def classes(block):
    """A table with a row a class, and their mean, to unfold."""
    classwise, mean = block.get("classwise", {}), block.get("classwise_mean", {})
    columns = list(mean)
    titles = [FIGURES[name.partition("@")[0]][0] + name.removeprefix(name.partition("@")[0]) for name in columns]
    rows = [(name, row["count"], *(row[column] for column in columns)) for name, row in classwise.items()]
    if rows:
        rows.append(("mean", sum(row["count"] for row in classwise.values()), *mean.values()))
    return details("Class by class", table(("Class", "Samples", *titles), rows))
