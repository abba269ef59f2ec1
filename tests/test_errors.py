"""Every way in which a command ends is an exit code, and every early one a line on stderr."""

import errno
import os
import subprocess
import sys

import pytest

from scoressl_jax.errors import STOPPING, Diverged, Interrupted, UserError, exit_code_of, one_line, workdir_of


def ends_with(error):
    """A command that raises `error`."""

    def command(argv):
        raise error

    return command


def line_of(capfd):
    """The one line on stderr; nothing is on stdout."""
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.endswith("\n")
    lines = said.err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("code", [0, 2, 75])
def test_a_command_that_returns_gives_its_own_code_and_says_nothing(code, tmp_path, capfd):
    given = []
    assert exit_code_of(lambda argv: given.append(argv) or code, ["a", "--b"]) == code
    assert given == [["a", "--b"]]
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("images.npz lacks x_train:\n  save it"), 2),
        (Diverged("step 7: not finite: loss"), 3),
        (Interrupted("stopped at step 7:\nrun the same command again"), 75),
    ],
    ids=["user error", "diverged", "interrupted"],
)
def test_an_end_that_is_told_is_its_message_on_one_line_with_a_code_of_its_own(error, code, tmp_path, capfd):
    assert exit_code_of(ends_with(error), [f"--workdir={tmp_path}"]) == code
    assert line_of(capfd) == f"scoressl_jax: {' '.join(str(error).split())}"
    assert not list(tmp_path.iterdir()), "only a fault of ours leaves a traceback"


def test_control_c_in_a_command_that_writes_at_its_end(tmp_path, capfd):
    assert exit_code_of(ends_with(KeyboardInterrupt()), [f"--workdir={tmp_path}"]) == 75
    assert line_of(capfd) == "scoressl_jax: stopped, nothing written"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), RuntimeError(""), KeyError("name"), ZeroDivisionError("x" * 900)]
)
def test_a_fault_of_ours_is_one_line_and_a_traceback_in_error_txt(error, tmp_path, capfd):
    folder = tmp_path / "not" / "yet" / "there"
    assert exit_code_of(ends_with(error), [f"--workdir={folder}"]) == 1
    said = line_of(capfd)
    assert said.startswith(f"scoressl_jax: a fault of ours, {type(error).__name__}: {one_line(error)[:200]} (")
    assert said.endswith(f"(traceback in {folder / 'error.txt'})")
    assert len(said) < 300 + len(str(folder))
    traceback = (folder / "error.txt").read_text()
    assert traceback.startswith("Traceback (most recent call last):")
    assert "raise error" in traceback
    assert type(error).__name__ in traceback.splitlines()[-len(str(error).splitlines()) or -1]


def test_a_later_fault_takes_the_place_of_the_one_before(tmp_path, capfd):
    for words in ("the first", "the second"):
        assert exit_code_of(ends_with(ValueError(words)), [f"--workdir={tmp_path}"]) == 1
        assert words in line_of(capfd)
    assert "the second" in (tmp_path / "error.txt").read_text()
    assert "the first" not in (tmp_path / "error.txt").read_text()


def test_where_no_traceback_can_be_kept_the_line_does_not_say_that_one_is(tmp_path, capfd):
    (tmp_path / "file").write_text("no folder")
    assert exit_code_of(ends_with(ValueError("words")), [f"--workdir={tmp_path / 'file'}"]) == 1
    said = line_of(capfd)
    assert said.startswith("scoressl_jax: a fault of ours, ValueError: words (")
    assert "its traceback cannot be written to" in said
    assert str(tmp_path / "file" / "error.txt") in said
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space there"),
        (errno.EDQUOT, "free some space there"),
        (errno.EROFS, "name a place that can be read and written"),
        (errno.EACCES, "name a place that can be read and written"),
        (errno.EIO, "see whether the disk is well"),
        (errno.EMFILE, "allow more open files (ulimit -n 4096)"),
        (errno.ENAMETOOLONG, "name a shorter path"),
    ],
)
def test_what_the_system_refuses_is_no_fault_of_ours(code, remedy, tmp_path, capfd):
    """The line names the path, or the run where the system does not say which; no traceback is kept."""
    words = os.strerror(code)
    for filename, named in (("/some/file", "/some/file"), (None, str(tmp_path))):
        error = OSError(code, words, filename) if filename else OSError(code, words)
        assert exit_code_of(ends_with(error), [f"--workdir={tmp_path}"]) == 2
        assert line_of(capfd) == f"scoressl_jax: {named}: {words}: {remedy}, then run the same command again"
    assert not list(tmp_path.iterdir())


def test_where_neither_the_system_nor_the_command_line_says_where(capfd):
    assert exit_code_of(ends_with(OSError(errno.ENOSPC, "No space left on device")), ["report"]) == 2
    said = "No space left on device: free some space there, then run the same command again"
    assert line_of(capfd) == f"scoressl_jax: {said}"


def test_another_error_of_the_system_is_a_fault_of_ours(tmp_path, capfd):
    assert exit_code_of(ends_with(FileNotFoundError(errno.ENOENT, "No such file", "x")), [f"--workdir={tmp_path}"]) == 1
    assert "a fault of ours, FileNotFoundError" in line_of(capfd)


def test_the_text_on_one_line():
    assert one_line("  a\n b\t\tc \r\n") == "a b c"
    assert one_line(UserError("a\n\nb")) == "a b"


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_before_a_run_takes_over_a_signal_ends_the_process_at_once(number):
    program = (
        "import os; from scoressl_jax.errors import leave_at_signals; leave_at_signals(); "
        f"os.kill(os.getpid(), {int(number)}); print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "scoressl_jax: stopped where nothing is to be saved: run the same command again\n"


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        (["--config=a.py", "--workdir=runs/a", "--mode=run"], "runs/a"),
        (["--workdir", "runs/a", "--mode=run"], "runs/a"),
        (["run", "-workdir=b"], "b"),
        (["--config=a.py"], "."),
        (["--workdir"], "."),
    ],
)
def test_the_directory_of_the_run_is_found_however_it_is_written(argv, folder):
    assert workdir_of(argv) == folder


def test_a_reader_that_has_gone_is_no_fault_of_ours(tmp_path):
    talk = (
        "import sys; from scoressl_jax.errors import exit_code_of\n"
        "def command(argv):\n"
        "    while True: print('a line', flush=True)\n"
        "sys.exit(exit_code_of(command, []))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", talk], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 75
    assert not (tmp_path / "error.txt").exists()


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 9 GiB"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_what_does_not_fit_in_memory_is_said_with_what_helps(error, tmp_path, capfd):
    assert exit_code_of(ends_with(error), [f"--workdir={tmp_path}"]) == 2
    said = line_of(capfd)
    assert said.startswith(f"scoressl_jax: out of memory ({error}): make batches smaller (--config.score.batch_size=N")
    assert not list(tmp_path.iterdir())


SPEAKS = (
    "import sys; from scoressl_jax.errors import speak_anywhere; speak_anywhere(); "
    "print('98 \u00b1 1'); print(1, file=sys.stderr)"
)


def test_a_terminal_without_the_letters_gets_them_in_another_way():
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", SPEAKS], env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "98 \\xb1 1\n", "1\n")


def test_where_nothing_is_open_nothing_is_said():
    """As of a daemon."""
    closed = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', sys.executable, "-c", SPEAKS]
    assert subprocess.run(closed, timeout=120).returncode == 0
