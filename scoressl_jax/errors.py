"""The ways a command can end early, each with its exit code, and the one wrapper that turns them into a line."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path


class UserError(Exception):
    """The user's input is at fault (config, data, checkpoint). The message says what, where and how to mend it."""

    exit_code = 2


class Diverged(Exception):
    """Training produced a value that is not finite. The message names the step and the terms."""

    exit_code = 3


class Interrupted(Exception):
    """A signal of STOPPING arrived; a checkpoint was written and the same command goes on from it."""

    exit_code = 75


# Signals that ask for an end: of a scheduler or a person, and where a terminal closes or a cluster's time is nearly up.
STOPPING = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, n))
SMALLER = "make batches smaller (--config.score.batch_size=N ...), or the networks; see --mode=check"
FREE = "free some space there"
WRITABLE = "name a place that can be read and written"
# What the system refuses, no fault of ours: what helps.
REFUSED = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), FREE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), WRITABLE),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "see whether the disk is well"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n 4096)"),
    errno.EFBIG: "allow larger files (ulimit -f unlimited)",
    errno.ENAMETOOLONG: "name a shorter path",
}


def one_line(error: object) -> str:
    """An exception's text on one line."""
    return " ".join(str(error).split())


def workdir_of(argv: list) -> str:
    """The directory that --workdir=DIR or --workdir DIR names; "." where none is."""
    for flag, value in zip(argv, [*argv[1:], ""], strict=True):
        if flag.lstrip("-").startswith("workdir="):
            return flag.split("=", 1)[1]
        if flag in ("--workdir", "-workdir") and value:
            return value
    return "."


def refusal(error: OSError, where: str) -> str:
    """A line on what the system refused, and what helps; `where`: at which place, if it does not say ("." is none)."""
    place = error.filename or (where if where != "." else "")
    said = f"{place}{': ' * bool(place)}{error.strerror or one_line(error)}: {REFUSED[error.errno]}"
    return f"{one_line(said)}, then run the same command again"


def exit_code_of(command: Callable[[list], int], argv: list) -> int:
    """command(argv) -> its exit code; every way to end early is one line on stderr and a code of its own.

    A fault of ours keeps its traceback in error.txt, in the directory of the run where one is named.
    """
    try:
        return command(argv)
    except (UserError, Diverged, Interrupted) as end:
        print(f"scoressl_jax: {one_line(end)}", file=sys.stderr)
        return end.exit_code
    except KeyboardInterrupt:  # in a command that writes nothing before its end
        print("scoressl_jax: stopped, nothing written", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:  # as of `scoressl ... | head`: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Interrupted.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            print(f"scoressl_jax: {refusal(error, workdir_of(argv))}", file=sys.stderr)
            return UserError.exit_code
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            print(
                f"scoressl_jax: out of memory ({one_line(error)[:200] or 'of the machine'}): {SMALLER}", file=sys.stderr
            )
            return UserError.exit_code
        path, kept = Path(os.path.expanduser(workdir_of(argv))) / "error.txt", "traceback in"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(traceback.format_exc())
        except OSError:  # a full disk may be the fault
            kept = "its traceback cannot be written to"
        print(
            f"scoressl_jax: a fault of ours, {type(error).__name__}: {one_line(error)[:200]} ({kept} {path})",
            file=sys.stderr,
        )
        return 1


def stopping() -> list:
    """The signals of STOPPING that are to be heard: under nohup, SIGHUP is not."""
    hangup = getattr(signal, "SIGHUP", None)
    return [n for n in STOPPING if n != hangup or signal.getsignal(n) is not signal.SIG_IGN]


def leave_at_signals() -> None:
    """Until a run takes over, a signal ends the process at once: while it imports, nothing else is safe."""

    def leave(*_):
        os.write(2, b"scoressl_jax: stopped where nothing is to be saved: run the same command again\n")
        os._exit(Interrupted.exit_code)

    for number in stopping():
        signal.signal(number, leave)


def speak_anywhere() -> None:
    """In a process of ours: where there is no stdout, stderr or stdin (of a daemon), nothing is said; what a terminal
    has no letters for is written with a backslash."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
        elif mode == "w":
            stream.reconfigure(errors="backslashreplace")


def silence_threads() -> None:
    """In a process of ours: what cannot be raised is not printed either (tensorstore's threads find the main one gone
    where the disk is full, which that has told)."""
    sys.unraisablehook = lambda error: None
