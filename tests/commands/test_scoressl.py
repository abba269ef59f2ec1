"""The console command: its table of commands, what becomes of errors, and one line for every command's bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import scoressl_jax
from scoressl_jax.__main__ import COMMANDS, main
from scoressl_jax.commands import report, run

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = (
    *("run", "check", "report", "sample", "compare", "few_labels", "evaluate", "import", "pack", "benchmark"),
    "reproduced",
)


def as_process(*argv):
    return subprocess.run(
        [sys.executable, "-m", "scoressl_jax", *argv], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_every_command_has_a_line_in_the_list(argv, scoressl):
    code, out, errors = scoressl(*argv)
    assert (code, errors) == (0, [])
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  ")}
    assert tuple(lines) == NAMES
    assert all(len(words) > 3 for words in lines.values())
    assert "scoressl COMMAND --help" in out


def test_the_list_and_the_version_are_there_at_once():
    code = "import sys; from scoressl_jax.__main__ import main; main(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"jax", "numpy", "absl", "matplotlib"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_takes(name, scoressl):
    code, out, errors = scoressl(name, "--help")
    assert (code, errors) == (0, [])
    assert f"scoressl {name} " in out
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize("what", ["train", "moons", "sampling", "metrics"])
def test_every_benchmark_says_what_it_takes(what, scoressl):
    code, out, _ = scoressl("benchmark", what, "--help")
    assert code == 0
    assert f"usage: scoressl benchmark {what} " in out


def test_the_version(scoressl):
    assert scoressl("--version") == (0, f"scoressl_jax {scoressl_jax.__version__}\n", [])


def test_as_a_process_it_ends_with_the_codes():
    done = as_process("--version")
    assert (done.returncode, done.stdout) == (0, f"scoressl_jax {scoressl_jax.__version__}\n")
    done = as_process("trane")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"scoressl_jax: there is no command 'trane': choose one of {', '.join(NAMES)}\n"


def test_an_unknown_command_is_one_line(refused):
    assert "there is no command 'trane': choose one of run, check, report" in refused("trane", "--mode=run")


def test_commands_in_the_docs_are_there():
    named = {line.split()[1] for page in DOCS.glob("*.md") for line in page.read_text().splitlines()
             if line.startswith("    scoressl ")}  # fmt: skip
    assert named <= set(COMMANDS)
    assert len(named) > 5


def test_run_and_check_are_the_main_program(monkeypatch):
    seen = []
    monkeypatch.setattr(run, "main", lambda argv: seen.append(argv) or 7)
    assert main(["run", "--config=x", "--mode=sample"]) == 7
    assert main(["check", "--config=x", "--workdir=y"]) == 7
    assert seen == [["--config=x", "--mode=sample"], ["--config=x", "--workdir=y", "--mode=check"]]


def test_check_trains_nothing(scoressl, monkeypatch, tmp_path, at_root):
    seen = []
    monkeypatch.setattr(run.estimate, "check", lambda kind, experiment: seen.append(experiment.config.score.steps))
    code, _, errors = scoressl("check", "--config=tests/tiny.py", f"--workdir={tmp_path}/run", "--config.score.steps=7")
    assert (code, errors, seen) == (0, [], [7])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["run", "."])
def test_a_fault_of_ours_keeps_its_traceback(folder, scoressl, monkeypatch, tmp_path):
    def fail(argv):
        raise RuntimeError("no such luck\nsecond line")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "main", fail)
    code, _, (line,) = scoressl("report", *([] if folder == "." else [f"--workdir={tmp_path / folder}"]))
    assert code == 1
    assert "a fault of ours, RuntimeError: no such luck second line" in line
    assert "RuntimeError: no such luck" in (tmp_path / folder / "error.txt").read_text()


def test_ctrl_c_is_one_line(scoressl, monkeypatch):
    def stop(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "main", stop)
    assert scoressl("report") == (75, "", ["scoressl_jax: stopped, nothing written"])


MISTAKES = {
    "run: nothing": (["run"], "--config=FILE is missing"),
    "run: an unknown flag": (["run", "--config=tests/tiny.py", "--workdri=x"], "workdri"),
    "check: no config": (["check", "--config=nowhere"], "--config=nowhere: there is no such file"),
    "report: nothing": (["report"], "RUN"),
    "report: no run": (["report", "{tmp}"], "holds no run"),
    "report: a torn run": (["report", "{torn}"], "config.json cannot be read"),
    "report: of a newer version": (["report", "{newer}"], "made by a newer version (format 99"),
    "sample: no run": (["sample", "{tmp}", "--out={tmp}/x.npz"], "holds no run"),
    "sample: no place": (["sample", "{tmp}"], "--out"),
    "sample: moons": (["sample", "{moons}", "--out={tmp}/x.npz"], "two moons"),
    "sample: images of unknown size": (["sample", "{bare}", "--out={tmp}/x.npz"], "which images it was made with"),
    "sample: no images": (["sample", "{tmp}", "--out={tmp}/x.npz", "--count=0"], "'0' is no whole number of 1"),
    "sample: one step": (["sample", "{tmp}", "--out={tmp}/x.npz", "--steps=1"], "'1' is no whole number of 2"),
    "sample: a negative scale": (["sample", "{tmp}", "--out={tmp}/x.npz", "--scale=-1"], "--scale=-1"),
    "sample: no number": (["sample", "{tmp}", "--out={tmp}/x.npz", "--scale=nan"], "--scale=nan"),
    "sample: unknown sampler": (["sample", "{tmp}", "--out={tmp}/x.npz", "--sampler=rk45"], "'dpm_solver'"),
    "compare: nothing": (["compare"], "RUN"),
    "compare: no run": (["compare", "{tmp}"], "holds no run"),
    "evaluate: one side": (["evaluate", "{tmp}"], "SAMPLES"),
    "evaluate: no file": (["evaluate", "{tmp}/a.npz", "{tmp}/b.npz"], "there is no such file or folder"),
    "import: no target": (["import", "{tmp}/file"], "--to"),
    "import: no file": (["import", "{tmp}/file", "--to={tmp}/run"], "cannot be read"),
    "pack: no place": (["pack", "{tmp}/file.npz"], "OUT_DIR"),
    "pack: no file": (["pack", "{tmp}/file.npz", "{tmp}/out"], "no such file"),
    "benchmark: nothing": (["benchmark"], "WHAT"),
    "benchmark: something else": (["benchmark", "luck"], "'luck'"),
    "benchmark: no run": (["benchmark", "sampling", "{tmp}"], "holds no run"),
    "benchmark: moons": (["benchmark", "sampling", "{moons}"], "two moons"),
    "benchmark: one image": (["benchmark", "metrics", "1"], "'1' is no whole number of 2 or more"),
    "reproduced: no run": (["reproduced", "{tmp}"], "holds no run"),
    "reproduced: no peak": (["reproduced", "{tmp}", "--peak-tflops=0"], "--peak-tflops=0"),
    "flags are not guessed": (["evaluate", "{tmp}/a.npz", "{tmp}/b.npz", "--feat=pixels"], "--feat"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input_is_one_line(mistake, refused, tmp_path, at_root):
    configs = {
        "torn": '{"seed": 0,',
        "newer": json.dumps({"format": 99, "seed": 0}),
        "bare": json.dumps({"seed": 0}),
        "moons": json.dumps({"data": {"name": "moons"}}),
    }
    for name, text in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    argv, words = MISTAKES[mistake]
    places = {name: tmp_path / name for name in configs} | {"tmp": tmp_path}
    assert words in refused(*(argument.format(**places) for argument in argv))
    assert sorted(tmp_path.rglob("*")) == before
