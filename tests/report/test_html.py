"""The parts of a page: numbers as text, tables, and that text stays text."""

import base64
import html
import json
import re
import shlex
import subprocess
import sys

import pytest

from scoressl_jax.report.html import Strip, command, details, embedded, number, page, section, share, strips, table


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
    assert share(0.96944, 0.0091) == "96.9 % ± 0.9"
    assert share(0.5, 0.00031) == "50.0 % ± 0.03"
    assert share(1.0, 0.0) == share(1.0, None) == "100.0 %"  # all of a few: that is no certainty


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


PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (640).to_bytes(4, "big") + b"rest"


def test_strips_have_names_as_text_and_say_what_they_show():
    found = strips([Strip("猫 <b>", PNG, "samples of 猫"), Strip("no", PNG, "others")], "all & sundry", least=24)
    assert "<b>猫 &lt;b&gt;</b><img" in found
    assert 'alt="samples of 猫"' in found
    assert found.count("<img") == 2
    assert "--least:24rem;--name:6ch" in found
    assert "<figcaption>all &amp; sundry</figcaption>" in found
    assert 'class="strips above"' in strips([Strip("a", PNG, "a")], "", above=True)


@pytest.mark.parametrize(
    "words",
    [
        ["python", "-m", "scoressl_jax.main", "--config=digits_ssl_da", "--config.data.path=a & b", "--workdir=runs/x"],
        ["python", "-m", "scoressl_jax.main", "--workdir=two --words", "--config.data.classes=('cat', '7')"],
        ["scoressl", "run", "--config.data.path=it's $HOME/<x>"],
    ],
)
def test_a_command_can_be_pasted_into_a_shell(words):
    shown = html.unescape(re.fullmatch(r"<pre><code>(.*)</code></pre>", command(shlex.join(words)), re.DOTALL)[1])
    assert len(shown.splitlines()) == 1 + sum(word.startswith("--") for word in words)
    program = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    script = shown.replace(words[0], shlex.join([*program, words[0]]), 1)
    out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(out) == words


def test_a_command_that_is_none_of_ours_is_shown_as_it_is():
    assert "an unclosed &#x27; quote" in command("an unclosed ' quote")
