"""What the command lines that argparse reads share."""

import argparse
from collections.abc import Callable

from scoressl_jax.errors import UserError


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
