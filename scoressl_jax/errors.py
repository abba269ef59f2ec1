"""The ways a run can end early, each with the exit code that `main` returns for it."""


class UserError(Exception):
    """The user's input is at fault (config, data, checkpoint). The message says what, where and how to mend it."""

    exit_code = 2


class Diverged(Exception):
    """Training produced a value that is not finite. The message names the step and the terms."""

    exit_code = 3


class Interrupted(Exception):
    """SIGTERM or SIGINT arrived; a checkpoint was written and the same command goes on from it."""

    exit_code = 75


def one_line(error):
    """An exception's text on one line."""
    return " ".join(str(error).split())
