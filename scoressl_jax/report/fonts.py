"""Names in pictures: in a font that has all their letters, or spelt so that they can be told apart all the same."""

import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

PLAIN = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


@cache
def letters(path) -> frozenset:
    """Code points that a font file has a shape for; none where it cannot be drawn with."""
    try:
        font = FT2Font(str(path))
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@cache
def installed() -> tuple:
    """Font files of this machine, in the order of their names."""
    return tuple(sorted(font_manager.findSystemFonts()))


def lettering(name) -> tuple:
    """(text, font file): a font that has every letter of the name. Where none does, the letters that are missing are
    spelt as their numbers, \\u732b."""
    text = unicodedata.normalize("NFC", " ".join(str(name).split()))
    needed = {ord(letter) for letter in text} | {ord("…")}  # by which a long name is cut
    for path in (PLAIN, *(() if needed <= letters(PLAIN) else installed())):
        if needed <= letters(path):
            return text, path
    spelt = (c if ord(c) in letters(PLAIN) else c.encode("unicode_escape").decode() for c in text)
    return "".join(spelt), PLAIN
