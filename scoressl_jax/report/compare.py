"""compare.html: groups of runs side by side on one page that holds everything, and its two pictures as files.

A group is a list of runs (groups.Measured) that differ in seeds alone; `names` has a name for each. What a run
has not measured, or has measured where it cannot be compared, is left out and said so.
"""

from html import escape
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from scoressl_jax.files import write_bytes, write_text
from scoressl_jax.report import charts
from scoressl_jax.report.charts import GAP, short, stretched
from scoressl_jax.report.html import embedded, page, section, table

COLORS = (charts.BLUE, charts.ORANGE, "#2e8b57", "#8e44ad", "#b8860b", "#444444")
MARKERS = ("o", "s", "^", "D", "v")
NAME = 32  # characters of a group's name that a picture shows
SHARED = {  # what gradient pictures must have in common to be compared: what is said of one that has not
    "gradient_images": "shows other images",
    "gradient_labels": "shows other classes",
    "gradient_t": "was made at another time t",
    "gradient_noisy": "has other noise (of another seed)",
}


def write_page(out, groups, names, columns, difference):
    """Write compare.html, accuracy_by_noise.png and gradients.png into directory `out`; returns the page's path.

    columns: {measure: [text of each group]}; difference: groups.Difference of two groups, or None. A picture of which
    no run has anything is not written. Raises OSError where `out` cannot be written.
    """
    out = Path(out)
    parts = [
        f"<h1>{escape(' against '.join(names))}</h1>",
        section("table", "Mean ± standard deviation over seeds", measures(groups, names, columns) + warned(groups)),
        section("noise", "Accuracy by noise level", noise(out, groups, names)),
        section("gradients", "What guides the sampling", gradients(out, groups, names)),
    ]
    if len(groups) == 2:
        parts.insert(2, section("difference", "The difference", gain(difference, groups, names)))
    path = out / "compare.html"
    write_text(path, page(f"Comparison: {', '.join(names)}", "\n".join(parts)))
    return path


def other_data(groups):
    """A line where the runs were not made on the same images, "" where they were or it is not known."""
    told = {}
    for run in (run for runs in groups for run in runs):
        data = run.results.get("data", {})
        marks = tuple(data.get("fingerprint", {}).get(part) for part in ("images", "test", "classes"))
        if all(marks):
            told.setdefault(marks, f"{run.workdir.name} on {data.get('name', 'data')}")
    if len(told) < 2:
        return ""
    return f"These runs are on different data, so that their figures do not compare: {', '.join(told.values())}."


def warned(groups):
    line = other_data(groups)
    return f'<p class="absent">{escape(line)}</p>' if line else ""


def measures(groups, names, columns):
    rows = [("runs", *(", ".join(run.workdir.name for run in runs) for runs in groups))]
    rows += [(measure, *cells) for measure, cells in columns.items() if any(cells)]
    return table(("", *names), rows)


def gain(difference, groups, names):
    if difference is None:
        return ""
    error, counts = difference.standard_error, " and ".join(str(len(runs)) for runs in groups)
    how = f"{difference.pairs} runs each, paired by seed" if difference.pairs else f"{counts} runs, not paired"
    how = "one run each" if len(groups[0]) == len(groups[1]) == 1 else how
    told = (
        f"too few to tell how much of it is chance ({how})."
        if error is None
        else f"mean ± standard error ({how}). Trust several standard errors, and more of them the fewer the runs."
    )
    spread = "" if error is None else f" ± {error:.2f}"
    return (
        f"<p>Accuracy over all noise, {escape(names[0])} minus {escape(names[1])}: "
        f"<b>{difference.points:+.2f}{spread} points</b>, {told}</p>"
    )


def shown(out, name, png, caption, kind, left_out):
    """The picture's markup, kept as a file too; then a line for each run that is left out; png may be None."""
    notes = "".join(f'<p class="absent">{escape(note)}: left out.</p>' for note in left_out)
    if png is None:
        return notes
    write_bytes(out / f"{name}.png", png)
    return embedded(png, caption, kind) + notes


def noise(out, groups, names):
    levels, accuracy, left_out = noise_curves(groups, names)
    counts = {run.results.get("data", {}).get("num_classes") for runs in groups for run in runs}
    png = noise_chart(*levels, accuracy, counts.pop() if len(counts) == 1 else None) if accuracy else None
    caption = (
        "How much noise each kind of classifier sees through, from clean images on the left to pure noise on the "
        "right; where a kind has several runs the line is their mean and the band one standard deviation on either "
        "side. Beyond the level where nothing of the image is left, all guess."
    )
    return shown(out, "accuracy_by_noise", png, caption, "chart", left_out)


def noise_curves(groups, names):
    """-> (t [N], sigma [N]), {name of a group: accuracy [runs, N]}, a line for each run that is left out.

    The first run that has a curve sets the times and noise levels, which a run must have to be compared.
    """
    levels, accuracy, left_out = None, {}, []
    for name, runs in zip(names, groups, strict=True):
        for run in runs:
            rows = run.results.get("classifier", {}).get("accuracy_by_noise") or ()
            found = np.array([(row["t"], row["sigma"], row["accuracy"]) for row in rows if row["sigma"] > 0]).T
            if not found.size:
                left_out.append(f"{run.workdir.name} has no accuracy by noise level")
                continue
            levels = found[:2] if levels is None else levels
            if same(found[:2], levels):
                accuracy.setdefault(name, []).append(found[2])
            else:
                left_out.append(f"{run.workdir.name} was measured at other times or noise levels than the first")
    return levels, {name: np.array(curves) for name, curves in accuracy.items()}, left_out


def band(values):
    """values [runs, N] -> mean [N] and sample standard deviation [N], which is None for one run."""
    return values.mean(0), values.std(0, ddof=1) if len(values) > 1 else None


def apart(places, least=0.07):
    """places [N], ascending -> indices of those that lie `least` of the whole range or more from the last one taken."""
    taken = [0]
    for i, place in enumerate(places):
        if place - places[taken[-1]] >= least * (places[-1] - places[0]) > 0:
            taken.append(i)
    return taken


@charts.styled
def noise_chart(t, sigma, accuracy, classes):
    """t, sigma [N], ascending; {name: accuracy [runs, N]}; number of classes or None -> PNG: a curve a name."""
    figure = Figure(figsize=(6.6, 4.6 + 0.22 * len(accuracy)), dpi=200, layout="constrained")
    axes = figure.subplots()
    for (name, values), color, marker in zip(accuracy.items(), cycle(COLORS), cycle(MARKERS), strict=False):
        mean, deviation = band(values)
        runs = "one run" if deviation is None else f"{len(values)} runs"
        axes.plot(t, mean, color=color, marker=marker, markersize=3.5, label=f"{fitting(name)} ({runs})")
        if deviation is not None:
            axes.fill_between(t, mean - deviation, mean + deviation, color=color, alpha=0.2, linewidth=0)
    if classes:
        axes.axhline(1 / classes, color=charts.GREY, linestyle="--", linewidth=1, label="guessing")
    axes.set(ylim=(0, 1.03), title="Accuracy on noisy test images", xlabel="noise level sigma", ylabel="accuracy")
    # Even in t: for VE logarithmic in sigma, and for VP and sub-VP it keeps apart the many points with sigma nearly 1.
    ticks = apart(t)
    axes.set_xticks(t[ticks], [f"{level:.2g}" for level in sigma[ticks]])
    axes.secondary_xaxis("top").set_xlabel("time t")
    several = any(len(values) > 1 for values in accuracy.values())
    title = "mean ± standard deviation" if several else None
    for text in figure.legend(title=title, loc="outside lower left", alignment="left").get_texts():  # off the curves
        text.set_parse_math(False)
    return charts.png_of(figure)


def fitting(name):
    """The name of a group as a picture has room for it: what is cut off is its beginning, where runs are alike."""
    return name if len(name) <= NAME else "…" + name[1 - NAME :]


def same(a, b):
    # Not bit for bit: noise is added on the machine of each run.
    return np.shape(a) == np.shape(b) and np.allclose(a, b, atol=1e-4)


def gradients(out, groups, names):
    shared, slopes, left_out = gradient_rows(groups, names)
    if not slopes:
        return shown(out, "gradients", None, "", "grid", left_out)
    time, known = float(shared["gradient_t"]), [str(name) for name in shared.get("class_names", ())]
    classes = [known[k] if k < len(known) else str(k) for k in shared["gradient_labels"]]
    png = gradient_chart(shared["gradient_images"], shared["gradient_noisy"], slopes, classes, time)
    caption = (
        f"Test images, the same diffused to t = {time:g}, and the gradient of log p(class) there by the first run of "
        "each kind, every picture stretched to its own range: look for strokes and edges, not speckle."
    )
    return shown(out, "gradients", png, caption, "grid", left_out)


def gradient_rows(groups, names):
    """-> evaluation.npz of the first run that has gradients, {name of a group: gradients [G, H, W, C] of its first
    run}, a line for each run that is left out: its images, classes, time and noise are not that first run's."""
    shared, slopes, left_out = {}, {}, []
    for name, (run, *_) in zip(names, groups, strict=True):
        found = run.evaluation
        if any(key not in found for key in ("gradients", *SHARED)) or not len(found["gradients"]):
            left_out.append(f"{run.workdir.name} has no pictures of gradients")
            continue
        if not shared:
            shared, shown_by = found, run.workdir.name
        other = [what for key, what in SHARED.items() if not same(found[key], shared[key])]
        if other:
            left_out.append(f"{run.workdir.name} {other[0]} than {shown_by}")
        else:
            slopes[name] = found["gradients"]
    return shared, slopes, left_out


def mosaic(rows):
    """Rows of uint8 images [G, H, W, C] -> one uint8 image, enlarged by a whole factor, with white gaps."""
    tiles = np.stack(rows)
    height, width = charts.tile_size(tiles.shape[2:])
    tiles = tiles.repeat(height // tiles.shape[2], 2).repeat(width // tiles.shape[3], 3)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    count, columns, height, width, channels = tiles.shape
    whole = tiles.transpose(0, 2, 1, 3, 4).reshape(count * height, columns * width, channels)
    return whole.repeat(3, 2) if channels == 1 else whole


def centres(length, count):
    """The middles of `count` tiles, each with a gap after it, along `length` pixels."""
    return (np.arange(count) + 0.5) * length / count - GAP / 2


@charts.styled
def gradient_chart(clean, noisy, slopes, classes, time):
    """clean uint8, noisy float, {name: gradients}, all [G, H, W, C]; G names of classes; t -> PNG: a column an image,
    a row a name."""
    rows = [clean] + [np.stack([stretched(x) for x in part]) for part in (noisy, *slopes.values())]
    names = ["image", "diffused", *(f"gradient, {fitting(name)}" for name in slopes)]
    whole, dpi = mosaic(rows), 200
    height, width = whole.shape[:2]
    size = max(width / dpi + 0.09 * max(map(len, names)) + 0.3, 4.6), height / dpi + 0.8
    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    figure.suptitle(f"Gradient of log p(class) at t = {time:g}", x=0.02, ha="left", size=11, weight="bold")
    axes = figure.subplots()
    axes.set_anchor("W")
    axes.imshow(whole, interpolation="nearest")
    axes.set_yticks(centres(height, len(rows)), names, parse_math=False)
    axes.set_xticks(centres(width, len(classes)), [short(name, 8) for name in classes], parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return charts.png_of(figure)
