"""The report's table of sample quality: what stands in it, and when it warns."""

import re

import pytest

from scoressl_jax.report.generation import generation_section, in_a_line

BLOCK = {
    "reference": "train", "features": "judge: <network> of 1437 labels", "count": 500, "reference_count": 1437,
    "fid@500": 12.25, "kid@500": -0.0125, "kid_sd@500": 0.5, "is@500": 8.5, "precision": 0.75, "recall": 0.625,
    "density": 1.125, "coverage": 0.875, "k": 5, "convention": "prdc", "cas": 0.9375,
    "cas_standard_error": 0.0125,
    "classwise": {"cat": {"count": 260, "precision": 0.5, "recall": 0.25, "fid@260": 3.0},
                  "dog": {"count": 240, "precision": 1.0, "recall": 0.75}},
    "classwise_mean": {"precision": 0.75, "recall": 0.5},
}  # fmt: skip


def rows(page):
    """Cells of each row."""
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


def test_each_figure_has_its_value_and_its_good_direction():
    found = {row[0]: row[1:] for row in rows(generation_section(BLOCK))}
    for name, value, good in (("FID@500", "12.25", "lower"), ("KID@500", "-0.0125", "lower"),
                              ("recall", "0.625", "higher"), ("CAS", "93.8 % ± 1.2", "higher")):  # fmt: skip
        assert found[name][0] == value
        assert found[name][1].endswith(f"; {good} is better")
    assert "is better" not in found["KID sd@500"][1]
    assert all(len(row[1]) > 40 for name, row in found.items() if name in ("FID@500", "IS@500", "density", "coverage"))


def test_it_says_what_was_compared_and_by_what():
    page = generation_section(BLOCK)
    assert "500 samples against 1,437 training images" in page
    assert "judge: &lt;network&gt; of 1437 labels" in page
    assert "k = 5, convention prdc" in page
    assert "500 samples against 1,437 test images" in generation_section(BLOCK | {"reference": "test"})
    assert "training images, pixel by pixel." in generation_section(BLOCK | {"features": "pixels"})


def test_classes_are_shown_with_their_mean():
    page = generation_section(BLOCK)
    assert "details" not in page
    header, *classes = rows(page)[-4:]
    assert header == ["Class", "Samples", "precision", "recall"]
    assert classes == [
        ["cat", "260", "0.5", "0.25"], ["dog", "240", "1", "0.75"], ["mean", "500", "0.75", "0.5"],
    ]  # fmt: skip
    bare = {name: value for name, value in BLOCK.items() if not name.startswith("classwise")}
    assert "Class" not in generation_section(bare)


@pytest.mark.parametrize(
    ("count", "reference", "warns"), [(500, 50_000, True), (10_000, 9_999, True), (10_000, 10_000, False)]
)
def test_warning_of_few_images(count, reference, warns):
    page = generation_section(BLOCK | {"count": count, "reference_count": reference})
    assert ("too high with fewer than 10,000" in page) == warns


def test_accuracy_with_real_images_stands_beside_cas():
    assert "trained on real ones: 98.0 %" in generation_section(BLOCK, 0.98)
    assert "real ones:" not in generation_section(BLOCK)


def test_nothing_measured_is_nothing():
    assert generation_section({}) == in_a_line({}) == ""


def test_summary_in_a_line():
    assert in_a_line(BLOCK) == "FID@500 12.25, precision 0.75, recall 0.625, CAS 0.9375"
