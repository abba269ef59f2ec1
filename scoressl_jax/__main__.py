"""scoressl COMMAND ... is python -m scoressl_jax COMMAND ...; without a command it lists them."""

import importlib
import sys

from scoressl_jax import __version__
from scoressl_jax.errors import UserError, exit_code_of, leave_at_signals, silence_threads, speak_anywhere

# {command: (module in commands/, flags that go before its own, what it does)}. A module is imported when it is asked
# for, so that the list is there at once.
COMMANDS = {
    "run": ("run", (), "train, draw, measure and report, as a config says; goes on where it was stopped"),
    "check": ("run", ("--mode=check",), "what that would train, with how much memory and how long; writes nothing"),
    "report": ("report", (), "report.html of a run anew, from its files alone"),
    "sample": ("sample", (), "images from a run's networks, as an .npz file or a folder of PNG files"),
    "compare": ("compare", (), "a table of runs: mean and standard deviation over their seeds"),
    "few_labels": ("few_labels", (), "methods for few labels, and what people use instead, in one table"),
    "evaluate": ("evaluate", (), "how good generated images are, against real ones"),
    "import": ("import_weights", (), "a released checkpoint as a run, or Inception's weights as .npz"),
    "pack": ("pack", (), "a data set in compressed parts of limited size"),
    "benchmark": ("benchmark", (), "speed of training, of samplers and of metrics on this machine"),
    "reproduced": ("reproduced", (), "what a run has reached, and how fast"),
}


def usage() -> str:
    lines = ["usage: scoressl COMMAND ...", ""]
    lines += [f"  {name:<12}{text}" for name, (*_, text) in COMMANDS.items()]
    lines += ["", "scoressl COMMAND --help says what a command takes, scoressl --version which version this is."]
    return "\n".join(lines)


def dispatch(argv: list) -> int:
    """The command that the first word names, with the others; its exit code."""
    name, *rest = argv or ["--help"]
    if name in ("--help", "-h"):
        print(usage())
        return 0
    if name == "--version":
        print(f"scoressl_jax {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}: choose one of {', '.join(COMMANDS)}")
    module, flags, _ = COMMANDS[name]
    from scoressl_jax.devices import only_our_lines  # here, as it takes time

    only_our_lines()
    try:
        return importlib.import_module(f"scoressl_jax.commands.{module}").main([*rest, *flags])
    except SystemExit as end:  # argparse's way to end after --help
        return end.code or 0


def main(argv: list) -> int:
    """Run a command line; returns the exit code."""
    return exit_code_of(dispatch, argv)


def run() -> None:
    """The console command."""
    leave_at_signals()
    silence_threads()
    speak_anywhere()
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
