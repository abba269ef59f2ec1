"""The parts of a page: numbers as text, tables, and that text stays text."""

import base64

import pytest

from scoressl_jax.report.html import details, embedded, number, page, section, share, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"), (0.123456, "0.1235"), (1234.5, "1,234"), (-2000.0, "-2,000"), (0, "0"),
        (None, ""), (True, "True"), ("as it is", "as it is"), ([1, 3], "[1, 3]"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def test_shares_are_in_percent():
    assert share(0.96944) == "96.9 %"
    assert share(0.0) == "0.0 %"
    assert share(None) is None


def test_rows_without_a_value_are_left_out():
    found = table(("a", "b"), [("x", None), ("<y>", 0), ("z", 1500)])
    assert found.count("<tr>") == 3
    assert "<td>&lt;y&gt;</td><td>0</td>" in found
    assert "<td>z</td><td>1,500</td>" in found
    assert table(("a", "b"), [("x", None)]) == table(("a", "b"), []) == ""


def test_an_empty_section_says_so_and_nothing_to_unfold_is_nothing():
    assert "not measured yet" in section("a", "A & B", "")
    assert "not measured yet" not in section("a", "A & B", "<p>text</p>")
    assert '<section id="a"><h2>A &amp; B</h2>' in section("a", "A & B", "<p>text</p>")
    assert details("more", "") == ""
    assert details("more <", "<p>text</p>") == "<details><summary>more &lt;</summary><p>text</p></details>"


def test_a_picture_is_part_of_the_text_at_half_its_width():
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (640).to_bytes(4, "big") + b"rest"
    found = embedded(png, 'a "caption" <', "grid")
    assert 'width="320"' in found
    assert 'alt="a &quot;caption&quot; &lt;"' in found
    assert f"base64,{base64.b64encode(png).decode()}" in found
    assert '<figure class="grid">' in found


def test_a_page_is_whole():
    found = page("a < b", "<p>body</p>")
    assert found.startswith("<!DOCTYPE html>")
    assert "<title>a &lt; b</title>" in found
    assert "<body>\n<p>body</p>\n</body></html>" in found
