"""python -m scoressl_jax.main --config=FILE --workdir=DIR [--mode=MODE] [--config.FIELD=VALUE ...]

--help lists modes and fields; commands/run.py has the rest.
"""

import sys

from scoressl_jax.errors import exit_code_of, leave_at_signals, silence_threads, speak_anywhere


def main(argv: list) -> int:
    """Run the command line; returns the exit code."""
    return exit_code_of(run, argv)


def run(argv: list) -> int:
    from scoressl_jax.devices import only_our_lines  # what takes time to import comes after the signals

    only_our_lines()
    from scoressl_jax.commands.run import main

    return main(argv)


if __name__ == "__main__":
    leave_at_signals()
    silence_threads()
    speak_anywhere()
    sys.exit(main(sys.argv[1:]))
