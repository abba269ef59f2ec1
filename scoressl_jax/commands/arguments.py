"""What the command lines that argparse reads share."""

import argparse
from collections.abc import Callable
from pathlib import Path

from scoressl_jax.errors import UserError
from scoressl_jax.files import check_writable


class Parser(argparse.ArgumentParser):
    """Bad arguments are a UserError; `hint` ends its line. The description keeps its lines, flags are written whole."""

    hint = "--help lists the flags"

    def __init__(self, prog: str, **rest):
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **rest)

    def error(self, message):
        raise UserError(f"command line: {message} ({self.hint})")


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number of `least` or more."""

    def number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return number


def check_target(flag: str, path: Path, folder: Path) -> None:
    """A UserError unless `folder` can be written, in which what `flag` names as `path` is to be, or which it is: to be
    known before the work."""
    try:
        check_writable(folder)
    except OSError as error:
        raise UserError(f"{flag}={path} cannot be written ({error.strerror}): name another") from None
