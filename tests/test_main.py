"""The command line: exit codes, the one line that goes with them, and that a finished run survives every mistake."""

import os
import shutil
import time

import pytest

from scoressl_jax.commands import run as command
from scoressl_jax.commands.run import parse
from scoressl_jax.devices import use_cores
from scoressl_jax.errors import STOPPING
from scoressl_jax.experiment.config import default_config, per_device

TINY = "--config=tests/tiny.py"


@pytest.fixture(scope="module")
def run(first_run, tmp_path_factory):
    return shutil.copytree(first_run[0], tmp_path_factory.mktemp("mistakes") / "run")


# Flags after those of the finished run, and words that the complaint must hold.
MISTAKES = {
    "unknown field": (["--config.scroe.steps=3"], ["scroe"]),
    "unknown field of a part": (["--config.score.stepz=3"], ["stepz"]),
    "wrong type": (["--config.score.steps=many"], ["score.steps", "many"]),
    "fraction for a whole number": (["--config.score.steps=1.5"], ["score.steps", "1.5"]),
    "a number for a part": (["--config.score=3"], ["score"]),
    "not positive": (["--config.score.batch_size=0"], ["score.batch_size", "0"]),
    "negative seed": (["--config.seed=-1"], ["seed", "-1"]),
    "not a fraction": (["--config.classifier.threshold=1.5"], ["classifier.threshold", "1.5"]),
    "unknown network": (["--config.score.network=unet"], ["score.network", "unet", "mlp"]),
    "unknown classifier": (["--config.classifier.network=unet"], ["classifier.network", "unet", "wide_resnet"]),
    "unknown process": (["--config.sde.name=edm"], ["sde.name", "edm", "subvp"]),
    "unknown regime": (["--config.regime=zero"], ["regime", "zero", "supervised"]),
    "unknown predictor": (["--config.sampling.predictor=heun"], ["sampling.predictor", "heun", "reverse_diffusion"]),
    "unknown sampler": (["--config.sampling.sampler=rk45"], ["sampling.sampler", "rk45", "dpm_solver", "ode"]),
    "levels in the wrong order": (["--config.sampling.interval=(5.0, 0.1)"], ["sampling.interval", "lower"]),
    "one level": (["--config.sampling.interval=(5.0,)"], ["sampling.interval", "two noise levels"]),
    "a level that is no number": (["--config.sampling.interval=(0.1, 'a')"], ["sampling.interval", "two noise levels"]),
    "neither predictor nor corrector": (
        ["--config.sampling.predictor=none", "--config.sampling.corrector=none"],
        ["sampling.predictor", "corrector"],
    ),
    "more than all noise": (["--config.sampling.eta=1.5"], ["sampling.eta", "1.5", "must lie in"]),
    "a start after the end": (["--config.sampling.t_init=1.5"], ["sampling.t_init", "1.5", "must lie in"]),
    "colours of grey images": (["--config.sampling.task=colorization"], ["colorization", "three channels", "digits"]),
    "a task that needs steps": (
        ["--config.sampling.task=inpainting", "--config.sampling.sampler=ode"],
        ["inpainting", "ode"],
    ),
    "unknown mode": (["--mode=trane"], ["trane", "train_score"]),
    "unknown flag": (["--workdri=x"], ["workdri"]),
    "stray word": (["trane"], ["trane"]),
    "too many labels": (["--config.data.num_labels=100000"], ["100000", "1437"]),
    "too many halvings": (
        ["--config.score.network=ncsnpp", "--config.score.multipliers=(1,1,1,1,1)"],
        ["8x8", "score.multipliers"],
    ),
    "half a patch": (
        ["--config.score.network=ncsnpp", "--config.score.multipliers=(1,)", "--config.score.patch=3"],
        ["8x8", "divisible by 3", "score.patch"],
    ),
    "half a patch of the judge": (["--config.evaluation.judge_patch=3"], ["8x8", "evaluation.judge_patch"]),
    "patches of points": (["--config.score.patch=2"], ["config.score.patch is 2", "mlp"]),
    "a preset where there is none": (["--config.preset=fast"], ["tests/tiny.py", "no preset 'fast'"]),
    "one positive to estimate from": (
        ["--config.regime=pu", "--config.data.positive_classes=(1,)", "--config.data.num_positive=1"],
        ["1 labelled positives", "data.class_prior"],
    ),
    "unlabelled terms": (["--config.regime=supervised"], ["supervised", "pseudo", "temporal"]),
    "no term": ([f"--config.classifier.terms.{n}=0" for n in ("ce", "ce_tau", "pseudo", "temporal")], ["terms", "ce"]),
    "no path": (["--config.data.name=npz"], ["data.path"]),
    "path that is not there": (["--config.data.name=npz", "--config.data.path=/nowhere/x.npz"], ["/nowhere/x.npz"]),
    "changed field": (
        ["--config.score.warmup=6"],
        ["config.score.warmup", "5", "6", "checkpoints/score", "checkpoints/classifier", "samples/samples.npz"],
    ),
    "fewer steps": (["--config.score.steps=399"], ["config.score.steps", "400", "399", "delete checkpoints/score"]),
    "more steps than the schedule was made for": (
        ["--config.score.steps=401"],
        ["config.score.steps", "400", "401", "its cosine schedule has run to its end", "--config.score.init_from=run:"],
    ),
    "nothing to begin with": (["--config.score.warm_start=True"], ["score.warm_start", "score.init_from"]),
    "a field that nothing reads": (["--config.data.num_positive=5"], ["data.num_positive is 5", "config.regime ssl"]),
    "a class that is not there": (["--config.sampling.classes=('3','x')"], ["config.sampling.classes", "'x'", "3"]),
    "changed later field": (["--config.sampling.scale=0.5"], ["config.sampling.scale", "0.5", "samples/samples.npz"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_costs_one_line_and_nothing_of_the_run(mistake, run, tiny, call_main, snapshot):
    flags, words = MISTAKES[mistake]
    before = snapshot(run)
    code, line = call_main(*tiny, f"--workdir={run}", *flags)
    assert code == 2
    assert line.startswith("scoressl_jax: ")
    for word in words:
        assert word in line
    assert snapshot(run) == before


def test_a_later_change_asks_to_delete_only_what_depends_on_it(run, tiny, call_main):
    _, line = call_main(*tiny, f"--workdir={run}", "--config.sampling.scale=0.5")
    assert "checkpoints/score" not in line
    assert "checkpoints/classifier" not in line


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("data.num_positive=5", ["data.num_positive is 5", "config.regime ssl does not read it", "choose pu"]),
        ("sampling.eta=0.5", ["sampling.eta is 0.5", "predictor_corrector does not read it", "choose ddim"]),
    ],
)
def test_a_field_that_nothing_reads(flag, words, call_main, tmp_path):
    code, line = call_main(TINY, f"--workdir={tmp_path / 'run'}", f"--config.{flag}")
    assert code == 2
    for word in words:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_mistakes_as_processes(program, run, tiny, snapshot):
    before = snapshot(run)
    for flags, word in ((["--config.score.stepz=3"], "stepz"), (["--config.score.steps=401"], "401")):
        outcome = program.run(run, *tiny, *flags)
        assert (outcome.code, outcome.out) == (2, "")
        assert word in outcome.complaint
    assert snapshot(run) == before


@pytest.mark.parametrize(
    ("count", "index", "words"),
    [
        ("two", "0", ["JAX_NUM_PROCESSES", "'two'"]),
        (None, "0", ["JAX_NUM_PROCESSES", "''"]),
        ("2", "-1", ["JAX_PROCESS_ID", "'-1'"]),
        ("2", "2", ["JAX_PROCESS_ID is 2", "2"]),
    ],
)
def test_malformed_process_group(count, index, words, call_main, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    for name, value in (("JAX_NUM_PROCESSES", count), ("JAX_PROCESS_ID", index)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    code, line = call_main(TINY, f"--workdir={tmp_path / 'run'}")
    assert code == 2
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("given", "batch", "devices", "flags", "threads"),
    [
        ("", 64, [2], " --xla_cpu_multi_thread_eigen=false", "4"),
        ("--xla_force_host_platform_device_count=1", 64, [], "--xla_force_host_platform_device_count=1", ""),
        ("", 63, [1], "", ""),  # one device for both cores: operations keep their threads
    ],
)
def test_each_core_is_a_device_with_threads_to_spare(given, batch, devices, flags, threads, monkeypatch):
    asked = []
    monkeypatch.setattr("jax.config.update", lambda name, value: asked.append(value))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setenv("NPROC", "")
    monkeypatch.delenv("NPROC")
    monkeypatch.setenv("XLA_FLAGS", given)
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    config = default_config()
    config.score.batch_size = batch
    use_cores(per_device(config))
    assert asked == devices
    assert os.environ["XLA_FLAGS"] == flags
    assert os.environ.get("NPROC", "") == threads


def test_config_file_faults(call_main, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    assert "there is no such file" in call_main("--config=nowhere.py", workdir)[1]
    faults = {
        "syntax.py": ("def get_config(:", "SyntaxError"),
        "raises.py": ("def get_config():\n    return 1 / 0", "ZeroDivisionError"),
        "unknown.py": (
            "from scoressl_jax.experiment.config import default_config as d\ndef get_config():\n    c = d()\n"
            "    c.score.stepz = 3\n    return c",
            "stepz",
        ),
        "old.py": ("from scoressl_jax.config import default_config", "it is scoressl_jax.experiment.config now"),
        "none.py": ("def get_config():\n    pass", "ConfigDict"),
        "empty.py": ("", "get_config"),
        "notes.txt": ("not a program", "SyntaxError"),
    }
    for name, (text, word) in faults.items():
        (tmp_path / name).write_text(text)
        code, line = call_main(f"--config={tmp_path / name}", workdir)
        assert code == 2
        assert name in line
        assert word in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", [["--config.preset=fast"], ["--config.preset", "fast"]])
def test_an_unknown_preset(flag, call_main, tmp_path):
    code, line = call_main("--config=configs/moons_dlsm.py", f"--workdir={tmp_path / 'run'}", *flag)
    assert code == 2
    assert "configs/moons_dlsm.py" in line
    assert "preset 'fast': choose default or faithful" in line
    assert not (tmp_path / "run").exists()


def test_missing_arguments(call_main, tmp_path):
    assert call_main(TINY)[0] == 2
    assert "--workdir" in call_main(TINY)[1]
    assert "--workdir" in call_main(TINY, "--workdir=")[1]
    code, line = call_main(f"--workdir={tmp_path}")
    assert code == 2
    assert "--config=FILE" in line


def test_workdir_that_is_a_file(call_main, tmp_path):
    (tmp_path / "file").write_text("mine")
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        code, line = call_main(TINY, f"--workdir={workdir}")
        assert code == 2
        assert str(workdir) in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("text", ['{"seed": 0,', "[]", ""])
def test_corrupt_config_json(text, call_main, tmp_path):
    (tmp_path / "config.json").write_text(text)
    for argv in ([TINY, f"--workdir={tmp_path}"], [f"--workdir={tmp_path}"]):
        code, line = call_main(*argv)
        assert code == 2
        assert "config.json" in line
    assert (tmp_path / "config.json").read_text() == text


def test_flags_may_be_written_with_a_space(monkeypatch, tmp_path, request):
    monkeypatch.chdir(request.config.rootpath)
    config, workdir, mode = parse(["--config", "tests/tiny.py", "--workdir", str(tmp_path), "--mode", "report"])
    assert (config.score.network, workdir, mode) == ("mlp", str(tmp_path), "report")


def test_help_needs_nothing(capfd):
    from scoressl_jax.main import main

    assert main(["--help"]) == 0
    said = capfd.readouterr().out
    assert "--config=FILE" in said
    for mode in ("run", "check", "train_score", "train_classifier", "sample", "evaluate", "report"):
        assert f"\n  {mode} " in said
    assert "--config.score.steps=900\n      updates [greater than 0]" in said
    assert "--config.sampling.task='none'\n" in said
    assert "[one of none, inpainting, colorization]" in said


def test_a_fault_of_ours_keeps_its_traceback(call_main, monkeypatch, tmp_path):
    def fail(*_):
        raise RuntimeError("no such luck\nsecond line")

    monkeypatch.setattr(command, "execute", fail)
    code, line = call_main(TINY, f"--workdir={tmp_path / 'run'}")
    assert code == 1
    assert "no such luck" in line
    assert str(tmp_path / "run" / "error.txt") in line
    text = (tmp_path / "run" / "error.txt").read_text()
    assert text.startswith("Traceback")
    assert "RuntimeError: no such luck" in text


# The environment of the process


def test_a_disk_that_is_full_costs_one_line_and_nothing_of_the_run(program, first_run, tiny, tmp_path, assert_same_run):
    """Files of limited size stand for it: what is refused, in the threads of orbax too, is refused in the same way."""
    workdir, limited = tmp_path / "run", (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        "runpy.run_module('scoressl_jax.main', run_name='__main__')"
    )  # fmt: skip
    named = {2_000: "config.json", 12_000: "checkpoints/score", 250_000: "report.html"}
    for size, name in named.items():
        outcome = program.run(workdir, *tiny, call=("-c", limited.format(size=size)))
        assert outcome.code == 2
        assert outcome.complaint == (
            f"scoressl_jax: {workdir / name}: File too large: allow larger files (ulimit -f unlimited), then run the "
            "same command again"
        )
        assert not (workdir / "error.txt").exists()
        assert not list(workdir.glob(".*.part"))
    outcome = program.run(workdir, *tiny)
    assert (outcome.code, outcome.err) == (0, "")
    assert_same_run(first_run[0], workdir)


def test_what_the_environment_says_changes_nothing(program, first_run, tiny, tmp_path, assert_same_run):
    """Double precision for other programs, a home and a cache that cannot be written."""
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"), "/proc/nowhere")
    outcome = program.run(tmp_path / "run", *tiny, JAX_ENABLE_X64="1", **nowhere)
    assert (outcome.code, outcome.err) == (0, "")
    assert_same_run(first_run[0], tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("JAX_PLATFORMS", "nonsense", "JAX_PLATFORMS is 'nonsense', but there is no such device"),
        ("JAX_DISABLE_JIT", "1", "JAX_DISABLE_JIT is set"),
    ],
)
def test_an_environment_in_which_nothing_can_run(name, value, words, program, tiny, tmp_path):
    outcome = program.run(tmp_path / "run", *tiny, **{name: value})
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.complaint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_a_signal_before_any_work(number, program, tiny, tmp_path):
    process = program.start(tmp_path / "run", *tiny)
    time.sleep(1.0)  # importing
    process.send_signal(number)
    outcome = program.finish(process, 60)
    assert outcome.code == 75
    assert "run the same command again" in outcome.complaint
