"""python -m scoressl_jax.main --config=FILE --workdir=DIR [--mode=MODE] [--config.FIELD=VALUE ...]

--help lists modes and fields; commands/run.py has the rest.
"""

import sys

from scoressl_jax.errors import exit_code_of, leave_at_signals


def main(argv: list) -> int:
    """Run the command line; returns the exit code."""
    from scoressl_jax.commands.run import main as run  # what takes time to import comes after the signals

    return exit_code_of(run, argv)


if __name__ == "__main__":
    leave_at_signals()
    sys.exit(main(sys.argv[1:]))
