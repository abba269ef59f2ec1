"""What the command lines that argparse reads share."""

import argparse

from scoressl_jax.errors import UserError


class Parser(argparse.ArgumentParser):
    """Bad arguments are a UserError; `hint` ends its line."""

    hint = "--help lists the flags"

    def error(self, message):
        raise UserError(f"command line: {message} ({self.hint})")
