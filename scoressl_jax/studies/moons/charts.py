"""Pictures of the two-moons study as the bytes of a PNG."""

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from scoressl_jax.report.charts import BLUE, GREY, ORANGE, png_of, styled

CLASS_COLORS = (ORANGE, BLUE)
LOSS_COLORS = {"ce": GREY, "dlsm": ORANGE, "dlsm_ce": BLUE}
SHOWN = 1000  # samples of a class in a scatter plot
LONGEST = 0.6  # length at which arrows are cut
PLANE = dict(xticks=[], yticks=[], xlim=(-40, 40), ylim=(-25, 25), aspect="equal")
FAR = 0.12  # distance to the oracle that is drawn black


@styled
def columns(at, posteriors, samples, titles):
    """A column a method, as figure 1 of Chao et al. 2022: the posterior field of either class, its distance to the
    oracle's (mean of both classes, dark is far), then samples -> PNG.

    at `[J, 2]`, a square grid, of which every other row and column is drawn; posteriors `{method: [2, J, 2]}`, every
    arrow to one scale, long ones cut, so that columns compare; samples `{method: [2, N, 2]}`, empty without; titles
    `{method: text}`.
    """
    side = round(len(at) ** 0.5)
    drawn = np.arange(len(at)).reshape(side, side)[::2, ::2].ravel()
    rows = 4 if samples else 3
    figure = Figure(figsize=(2.6 * len(titles), 1.75 * rows), dpi=170, layout="constrained")
    panels = figure.subplots(rows, len(titles), squeeze=False)
    for axes in panels.ravel():
        axes.set(**PLANE)
    for column, (method, title) in zip(panels.T, titles.items(), strict=True):
        column[0].set_title(title)
        for c in (0, 1):
            u = posteriors[method][c][drawn]
            u = u / np.maximum(np.linalg.norm(u, axis=-1, keepdims=True) / LONGEST, 1)
            column[c].quiver(
                *at[drawn].T, *u.T, color=CLASS_COLORS[c], angles="xy", scale=0.09, scale_units="xy", width=0.006
            )
        far = np.linalg.norm(posteriors[method] - posteriors["oracle"], axis=-1).mean(0).reshape(side, side)
        box = (*PLANE["xlim"], *PLANE["ylim"])
        column[2].imshow(far, cmap="Greys", vmin=0, vmax=FAR, extent=box, origin="lower", interpolation="bilinear")
        column[2].text(0, -22, f"mean {far.mean():.3f}", ha="center", color="#d01c1c")
        if samples:
            draw_samples(column[3], samples[method])
    for axes, text in zip(panels[:, 0], ("upper class", "lower class", "distance", "samples"), strict=False):
        axes.set_ylabel(text)
    return png_of(figure)


@styled
def scatter(samples, titles):
    """A panel a method with samples `{method: [2, N, 2]}` of either class -> PNG."""
    figure = Figure(figsize=(2.6 * len(titles), 1.95), dpi=170, layout="constrained")
    for axes, (method, title) in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles.items(), strict=True):
        axes.set(title=title, **PLANE)
        draw_samples(axes, samples[method])
    return png_of(figure)


def draw_samples(axes, samples):
    for points, color in zip(samples, CLASS_COLORS, strict=True):
        axes.scatter(*points[:SHOWN].T, s=1.5, color=color, alpha=0.5, linewidths=0)


def interval(values):
    """Mean and half width of its 95 % interval (Student's t) over runs, of `values [R, N]`: each `[N]`."""
    runs = len(values)
    if runs < 2:
        return values.mean(0), np.zeros(values.shape[1])
    return values.mean(0), stats.t.ppf(0.975, runs - 1) * values.std(0, ddof=1) / np.sqrt(runs)


@styled
def curves(series, title, names, reference=None):
    """series {loss: (steps [N], values [R, N])} -> PNG of mean and 95 % interval over runs.

    The y axis is logarithmic where the means span more than a factor of ten.

    reference: None, or (value, text) of a level line.
    """
    figure = Figure(figsize=(4.6, 3.0), dpi=200, layout="constrained")
    axes = figure.subplots()
    for loss, (steps, values) in series.items():
        mean, half = interval(values)
        axes.plot(steps, mean, color=LOSS_COLORS[loss], linewidth=1.8, label=names[loss])
        axes.fill_between(steps, mean - half, mean + half, color=LOSS_COLORS[loss], alpha=0.25, linewidth=0)
    if reference:
        axes.axhline(reference[0], color=GREY, linestyle="--", linewidth=1)
        axes.text(axes.get_xlim()[1], reference[0], reference[1], ha="right", va="bottom", color="#666666", fontsize=8)
    axes.set(title=title, xlabel="step")
    means = np.concatenate([values.mean(0) for _, values in series.values()])
    if means.max() > 10 * means.min() > 0:
        axes.set(yscale="log", ylim=(means.min() / 1.3, means.max() * 2))
    else:
        axes.set_ylim(0, None)
    axes.legend()
    return png_of(figure)
