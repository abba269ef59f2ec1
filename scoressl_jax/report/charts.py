"""Charts, and grids of pictures, as the bytes of a PNG.

Every picture is drawn at twice the size at which the report shows it, so that it stays sharp on fine screens. Charts
are one narrow column wide: two or three fit beside each other, one fits a telephone.
"""

import io
from functools import cache

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter
from PIL import Image, ImageDraw, ImageFont

from scoressl_jax.report.fonts import PLAIN, lettering

TILE = 112  # pixels that the side of a small image is enlarged to, nearly: the factor is a whole number
GAP, GROUP_GAP = 4, 28
BLUE, ORANGE, GREY, RED = "#2566a8", "#c8610a", "#8a8a8a", "#d01c1c"
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e4e4",
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 10,
}  # fmt: skip
styled = matplotlib.rc_context(STYLE)


def short(name, length=14):
    """The name cut to `length` characters, so that one long class name does not take the whole picture."""
    name = " ".join(str(name).split())
    return name if len(name) <= length else name[: length - 1] + "…"


@cache
def _font(path, size):
    return ImageFont.truetype(path, size)


def _write(draw, place, name, color, size, anchor, length):
    """A name in a font that has its letters."""
    text, path = lettering(name)
    draw.text(place, short(text, length), color, _font(path, size), anchor=anchor)


def _width(name, size, length):
    text, path = lettering(name)
    return int(_font(path, size).getlength(short(text, length)))


def _figure(height, rows=1, ratios=None):
    figure = Figure(figsize=(4.6, height), dpi=200, layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, sharex=rows > 1, height_ratios=ratios)[:, 0]


def png_of(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return _encoded(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))


def _encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _log_axis(axis, low, high):
    # Plain numbers in place of powers of ten; within two decades also 2 and 5, or hardly a tick would show.
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def smooth(values):
    """values [N] -> running mean [N] over about a fiftieth of the curve, less where it is short."""
    window = np.ones(min(max(3, len(values) // 50), 1 + len(values) // 10))
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


@styled
def training_curve(title, series, unit=False):
    """series {name: (steps [N], values [N])} -> PNG; unit: the values lie in 0..1.

    The y axis is logarithmic where the values are positive and span more than a factor of ten.
    """
    figure, (axes,) = _figure(2.5)
    for (name, (steps, values)), color in zip(series.items(), (BLUE, ORANGE), strict=False):
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axes.plot(steps, smooth(values), color=color, linewidth=1.8, label=name)
    smoothed = np.concatenate([smooth(values) for _, values in series.values()])
    raw = np.concatenate([values for _, values in series.values()])
    if unit:
        axes.set_ylim(-0.03, 1.03)
    elif raw.min() > 0 and raw.max() > 10 * smoothed.min():
        axes.set_yscale("log")
        _log_axis(axes.yaxis, smoothed.min(), raw.max())
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set(title=title, xlabel="step")
    if len(series) > 1:
        _legend_above(axes)
    return png_of(figure)


def _legend_above(axes):
    """Between title and plot, so that it lies over nothing that is drawn."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2, borderaxespad=0, handlelength=1.4)
    axes.set_title(axes.get_title(loc="left"), pad=24)


@styled
def accuracy_by_noise(sigma, accuracy, guidance_norm, classes, error=None):
    """sigma, accuracy [N], guidance_norm [N] or None (then without its panel), number of classes or None, and standard
    errors of the accuracy [N], which are drawn as a band, or None -> PNG."""
    figure, panels = _figure(*((4.2, 2, (2, 1)) if guidance_norm is not None else (3.2,)))
    panels[0].plot(sigma, accuracy, color=BLUE, marker="o", markersize=3.5)
    if error is not None:
        panels[0].fill_between(sigma, accuracy - error, accuracy + error, color=BLUE, alpha=0.25, linewidth=0)
    if classes:
        panels[0].axhline(1 / classes, color=GREY, linestyle="--", linewidth=1)
        panels[0].text(sigma.min(), 1 / classes + 0.02, "guessing", color="#666666")
    panels[0].set(ylim=(0, 1.03), title="Accuracy on noisy test images", xscale="log")
    if guidance_norm is not None:
        panels[1].plot(sigma, guidance_norm, color=ORANGE, marker="o", markersize=3.5)
        panels[1].set_title("Norm of the guidance gradient")
        if guidance_norm.min() > 0:
            panels[1].set_yscale("log")
            _log_axis(panels[1].yaxis, guidance_norm.min(), guidance_norm.max())
    _log_axis(panels[-1].xaxis, sigma.min(), sigma.max())
    panels[-1].set_xlabel("noise level sigma")
    return png_of(figure)


@styled
def confusion_matrix(counts, names):
    """counts [C, C], rows = true class; C names -> PNG, with the counts in the cells up to 12 classes."""
    figure, (axes,) = _figure(4.4)
    fraction = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    if len(counts) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if fraction[row, column] > 0.5 else "#aaaaaa" if count == 0 else "black"
            axes.text(column, row, str(int(count)), ha="center", va="center", color=color, fontsize=9)
    ticks = np.arange(0, len(names), -(-len(names) // 15))
    texts, fonts = zip(*(lettering(names[i]) for i in ticks), strict=True)
    labels = [short(text) for text in texts]
    # Class names are plain text, whatever dollar signs are in them.
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xticks(ticks, labels, parse_math=False, rotation=90 if max(map(len, labels)) > 3 else 0)
    for axis in (axes.xaxis, axes.yaxis):
        for label, path in zip(axis.get_ticklabels(), fonts, strict=True):
            if path != PLAIN:
                label.set_fontproperties(FontProperties(fname=path, size=label.get_size()))
    axes.set(xlabel="predicted class", ylabel="true class")
    return png_of(figure)


@styled
def reliability_diagram(confidence, accuracy, count):
    """confidence, accuracy, count [bins]: means and number of images of each bin of confidence -> PNG."""
    figure, (top, bottom) = _figure(4.4, 2, (3, 1))
    width = 1 / len(count)
    centers, full = (np.arange(len(count)) + 0.5) * width, count > 0
    top.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    top.bar(centers[full], accuracy[full], width * 0.92, color="#9dc3e6")
    top.plot(confidence[full], accuracy[full], "o", color=BLUE, markersize=4, label="measured")
    top.set(ylim=(0, 1.03), xlim=(0, 1), ylabel="accuracy", title="Accuracy by confidence")
    _legend_above(top)
    bottom.bar(centers, count / max(count.sum(), 1), width * 0.92, color=GREY)
    bottom.set(ylabel="share of\nimages", xlabel="confidence", ylim=(0, 1))
    return png_of(figure)


def stretched(image):
    """float image -> uint8 of the same shape, its own minimum black and its own maximum white."""
    image = np.asarray(image, np.float64)
    low, high = image.min(), image.max()
    return np.round(255 * (image - low) / (high - low if high > low else 1)).astype(np.uint8)


def tile_size(shape):
    """(H, W, C) of an image -> (height, width) of its tile in a grid."""
    factor = max(1, round(TILE / max(shape[:2])))
    return shape[0] * factor, shape[1] * factor


def image_grid(rows, row_names=(), column_names=(), marked=None, group=1):
    """Rows of uint8 images [H, W, C], enlarged without smoothing, with a name before each row -> PNG.

    column_names stand above the first row. marked: rows of booleans, True outlines the image in red. `group` rows
    stand close together, with more room to the next ones (room is made only when group > 1).
    """
    height, width = tile_size(rows[0][0].shape)
    left = GAP + (20 + max(_width(name, 28, 14) for name in row_names) if row_names else 0)
    top = GAP + (44 if column_names else 0)
    lift = [GROUP_GAP * (i // group) if group > 1 else 0 for i in range(len(rows))]
    size = left + max(map(len, rows)) * (width + GAP), top + len(rows) * (height + GAP) + lift[-1]
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for i, name in enumerate(column_names):  # smaller, so that names of neighbours keep apart
        _write(draw, (left + i * (width + GAP) + width // 2, top // 2), name, "black", 22, "mm", 8)
    for i, images in enumerate(rows):
        y = top + i * (height + GAP) + lift[i]
        if row_names:
            color = "#666666" if i % group else "black"
            _write(draw, (left - 14, y + height // 2), row_names[i], color, 28, "rm", 14)
        for j, image in enumerate(images):
            x = left + j * (width + GAP)
            tile = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            picture.paste(tile.resize((width, height), Image.Resampling.NEAREST), (x, y))
            if marked is not None and marked[i][j]:
                draw.rectangle((x - GAP, y - GAP, x + width + GAP - 1, y + height + GAP - 1), outline=RED, width=8)
    return _encoded(picture)


def _first_of_each(labels, count, classes):
    # Classes without an image have no row.
    found = [(k, np.flatnonzero(labels == k)[:count]) for k in range(classes)]
    return [(k, indices) for k, indices in found if len(indices)]


def class_grid(images, labels, names, columns, wrong=None):
    """images uint8 [N, H, W, C], labels [N] -> PNG: a row per class of its first `columns`; red where wrong [N]."""
    found = _first_of_each(labels, columns, len(names))
    marked = None if wrong is None else [wrong[indices] for _, indices in found]
    return image_grid([images[indices] for _, indices in found], [names[k] for k, _ in found], marked=marked)


def class_strips(rows, labels, names, columns, wrong=None):
    """The same a class at a time, of one or more arrays `rows` of images [N, H, W, C], which stand below each other:
    [(class, PNG)]; without names, which a page has as text."""
    found = _first_of_each(labels, columns, len(names))
    marked = lambda indices: None if wrong is None else [wrong[indices], *[np.zeros(len(indices), bool)] * len(rows)]  # noqa: E731
    return [(k, image_grid([images[at] for images in rows], marked=marked(at))) for k, at in found]


def pair_grid(images, nearest, labels, names, columns):
    """images, nearest uint8 [N, H, W, C], labels [N] -> PNG: per class a row of images above the row of `nearest`."""
    found = _first_of_each(labels, columns, len(names))
    rows = [array[indices] for _, indices in found for array in (images, nearest)]
    return image_grid(rows, [name for k, _ in found for name in (names[k], "nearest")], group=2)


def restored_grid(given, images, originals, labels, names, columns):
    """uint8 [N, H, W, C] each -> PNG: per class what was given, the images made of it, and the originals."""
    found = _first_of_each(labels, columns, len(names))
    rows = [array[indices] for _, indices in found for array in (given, images, originals)]
    row_names = [name for k, _ in found for name in (f"{names[k]}: given", "restored", "original")]
    return image_grid(rows, row_names, group=3)


def gradient_grid(clean, noisy, gradients, column_names=()):
    """clean uint8, noisy and gradients float, all [G, H, W, C] -> PNG: a column per example, a name above each; without
    names, which a page has as text, no row has one either."""
    rows = [clean, [stretched(x) for x in noisy], [stretched(g) for g in gradients]]
    return image_grid(rows, ["image", "diffused", "gradient"] if len(column_names) else (), column_names)
