"""Names in pictures: whatever letters they are written in, none is a row of boxes."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from scoressl_jax.report import charts, fonts
from scoressl_jax.report.fonts import PLAIN, lettering, letters

CAT = "猫"


@pytest.fixture
def no_fonts(monkeypatch):
    monkeypatch.setattr(fonts, "installed", tuple)


@pytest.fixture
def with_cat(tmp_path, monkeypatch):
    """A machine with one font, which has the letters of 猫 cat and no others."""
    names = {ord(letter): f"glyph{i}" for i, letter in enumerate(f"{CAT} cat…")}
    builder, pen = FontBuilder(1000), TTGlyphPen(None)
    pen.moveTo((100, 0))
    for place in ((100, 700), (600, 700), (600, 0)):
        pen.lineTo(place)
    pen.closePath()
    glyphs = {name: pen.glyph() for name in (".notdef", *dict.fromkeys(names.values()))}
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(names)
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (700, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cat", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "cat.ttf")
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "installed", lambda: (broken, tmp_path / "cat.ttf"))
    return tmp_path / "cat.ttf"


def test_plain_names_and_accents_need_no_other_font(no_fonts):
    for name in ("cat", "7", "Müller", "ночь", "$a_1$"):
        assert lettering(name) == (name, PLAIN)
    assert lettering("Mu\u0308ller") == ("Müller", PLAIN)  # as some systems name folders
    assert lettering("  two\n words ") == ("two words", PLAIN)


def test_a_font_that_has_all_letters_is_taken(with_cat):
    assert lettering(f"{CAT} cat") == (f"{CAT} cat", with_cat)
    assert lettering(f"{CAT} dog") == ("\\u732b dog", PLAIN), "it lacks some of them"
    assert letters(with_cat.parent / "broken.ttf") == frozenset()


def test_letters_that_no_font_has_are_spelt(no_fonts):
    assert lettering(CAT) == ("\\u732b", PLAIN)
    assert lettering("a\U000f1234") == ("a\\U000f1234", PLAIN)
    assert lettering("犬")[0] != lettering(CAT)[0]


def test_no_installed_font_has_a_letter_of_private_use():
    """Whatever this machine has installed, the name is spelt with letters that are there."""
    text, path = lettering("\U0010fffd")
    assert text == "\\U0010fffd" or ord("\U0010fffd") in letters(path)


def test_pictures_of_names_that_no_font_has_differ_and_warn_of_nothing(no_fonts, recwarn):
    counts, images, labels = np.eye(2), np.zeros((2, 8, 8, 1), np.uint8), np.arange(2)
    drawn = [charts.confusion_matrix(counts, [name, "b"]) for name in (CAT, "犬")]
    drawn += [charts.class_grid(images, labels, [name, "b"], 2) for name in (CAT, "犬")]
    assert len(set(drawn)) == 4
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_pictures_use_the_font_that_has_the_letters(with_cat, recwarn):
    counts, images, labels = np.eye(2), np.zeros((2, 8, 8, 1), np.uint8), np.arange(2)
    of_cat = [charts.confusion_matrix(counts, [CAT, "b"]), charts.class_grid(images, labels, [CAT, "b"], 2)]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    fonts.installed = tuple
    spelt = [charts.confusion_matrix(counts, [CAT, "b"]), charts.class_grid(images, labels, [CAT, "b"], 2)]
    assert all(one != other for one, other in zip(of_cat, spelt, strict=True))
