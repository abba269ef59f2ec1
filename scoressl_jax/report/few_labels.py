"""The table of methods for few labels: accuracy by method and number of labels, as Markdown and as a chart.

cells: one dict a trained classifier, {"labels", "method", "seed", "accuracy", "seconds"}, accuracy being the share of
test images.
"""

import numpy as np

from scoressl_jax.report.charts import BLUE, GREY, ORANGE, RED, png_of, styled


def gathered(cells: list[dict], name: str = "accuracy") -> dict:
    """{method: {labels: values over seeds}}, methods and labels in the order in which they first come."""
    found = {}
    for cell in cells:
        found.setdefault(cell["method"], {}).setdefault(cell["labels"], []).append(cell[name])
    return found


def spread(values: list[float]) -> float | None:
    """Standard deviation over seeds; None for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def cell_text(values: list[float]) -> str:
    """Percent, mean ± sd over the seeds."""
    sd = spread(values)
    return f"{100 * np.mean(values):.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "") + f" ({len(values)})"


def markdown(cells: list[dict]) -> str:
    """Accuracy in percent, mean ± sd (number of seeds), and the mean seconds of training."""
    accuracy, seconds = gathered(cells), gathered(cells, "seconds")
    counts = sorted({cell["labels"] for cell in cells})
    lines = [
        "| method | " + " | ".join(f"{n:,} labels" for n in counts) + " | seconds |",
        "|---" * (len(counts) + 2) + "|",
    ]
    for method, by_labels in accuracy.items():
        texts = [cell_text(by_labels[n]) if n in by_labels else "" for n in counts]
        spent = [s for values in seconds[method].values() for s in values]
        lines.append(f"| {method} | " + " | ".join(texts) + f" | {np.mean(spent):.0f} |")
    return "\n".join(lines)


@styled
def chart(cells: list[dict], title: str) -> bytes:
    """PNG of accuracy in percent against labels on a logarithmic axis, a line a method; bars are ± sd over seeds."""
    from matplotlib.figure import Figure

    accuracy = gathered(cells)
    figure = Figure(figsize=(6.4, 4.2), dpi=200, layout="constrained")
    axes = figure.subplots()
    colors, dashes = (BLUE, ORANGE, GREY, RED, "#3a8a4d", "#7d4fa8"), ("-", "--", ":")
    for i, (method, by_labels) in enumerate(accuracy.items()):
        counts = sorted(by_labels)
        means = [100 * np.mean(by_labels[n]) for n in counts]
        bars = [100 * (spread(by_labels[n]) or 0) for n in counts]
        style = dict(color=colors[i % 6], linestyle=dashes[i // 6 % 3], marker="o", markersize=4, capsize=3)
        axes.errorbar(counts, means, yerr=bars, label=method, **style)
    axes.set_xscale("log")
    shown = sorted({cell["labels"] for cell in cells})
    axes.set_xticks(shown, [f"{n:,}" for n in shown])
    axes.minorticks_off()
    axes.set(title=title, xlabel="labelled images", ylabel="right among test images, %")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return png_of(figure)
