"""The table and the chart of methods for few labels."""

import io
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from scoressl_jax.report.few_labels import cell_text, chart, gathered, markdown, spread


def cell(method, labels, accuracy, seconds=10.0, seed=0):
    return {"labels": labels, "method": method, "seed": seed, "accuracy": accuracy, "seconds": seconds}


CELLS = [
    cell("svm", 1000, 0.9, 4.0),
    cell("fixmatch", 20, 0.5, 100.0),
    cell("svm", 20, 0.25, 1.0),
    cell("fixmatch", 20, 0.7, 120.0, seed=1),
    cell("fixmatch", 20, 0.9, 140.0, seed=2),
    cell("svm", 1000, 0.94, 7.0, seed=1),
]


def test_the_table_has_a_row_a_method_and_a_column_a_number_of_labels():
    """By hand: sd over n - 1 of .5 .7 .9 is .2, of .9 .94 is .0283; seconds are means over all cells of a method."""
    assert markdown(CELLS).splitlines() == [
        "| method | 20 labels | 1,000 labels | seconds |",
        "|---|---|---|---|",
        "| svm | 25.00 (1) | 92.00 ± 2.83 (2) | 4 |",
        "| fixmatch | 70.00 ± 20.00 (3) |  | 120 |",
    ]


def test_cells_are_gathered_in_the_order_in_which_they_come():
    found = gathered(CELLS)
    assert list(found) == ["svm", "fixmatch"]
    assert list(found["svm"]) == [1000, 20]
    assert found["fixmatch"] == {20: [0.5, 0.7, 0.9]}
    assert gathered(CELLS, "seconds")["svm"] == {1000: [4.0, 7.0], 20: [1.0]}


def test_one_seed_has_no_spread():
    assert spread([0.3]) is None
    assert spread([0.3, 0.3]) == 0
    assert spread([0.1, 0.3]) == pytest.approx(0.2 / np.sqrt(2))
    assert cell_text([0.1234]) == "12.34 (1)"


def test_the_chart_has_a_line_a_method_with_bars_over_seeds(monkeypatch):
    drawn, titles, plain = [], [], Axes.errorbar

    def errorbar(axes, x, y, yerr, label, **style):
        drawn.append((label, x, y, yerr, style["color"], style["linestyle"]))
        titles.append(axes)
        return plain(axes, x, y, yerr=yerr, label=label, **style)

    monkeypatch.setattr(Axes, "errorbar", errorbar)
    picture = Image.open(io.BytesIO(chart(CELLS, "three seeds")))
    assert picture.size[0] > 600
    assert np.asarray(picture.convert("L")).min() < 100
    (svm, fixmatch) = drawn
    assert (svm[0], svm[1]) == ("svm", [20, 1000])
    np.testing.assert_allclose(svm[2], [25, 92])
    np.testing.assert_allclose(svm[3], [0, 2.828], atol=1e-3)
    assert (fixmatch[0], fixmatch[1]) == ("fixmatch", [20])
    np.testing.assert_allclose([fixmatch[2], fixmatch[3]], [[70], [20]])
    assert svm[4:] != fixmatch[4:]
    axes = titles[0]
    assert axes.get_title("left") == "three seeds"
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["20", "1,000"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["svm", "fixmatch"]
    assert re.search(r"%", axes.get_ylabel())


def test_many_methods_are_told_apart(monkeypatch):
    styles, plain = [], Axes.errorbar

    def errorbar(axes, *given, **style):
        styles.append((style["color"], style["linestyle"]))
        return plain(axes, *given, **style)

    monkeypatch.setattr(Axes, "errorbar", errorbar)
    chart([cell(f"method {i}", 10, 0.5) for i in range(12)], "twelve")
    assert len(set(styles)) == 12
