"""Which config a command line names: a file, a shipped one by its name, a preset of either; and what --help tells."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scoressl_jax.commands.run import MODES, find_config, load_config, next_mode, parse, repeating
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import validate
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import flat
from scoressl_jax.studies.moons.study import MOONS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {path.stem: path for path in (ROOT / "configs").glob("*.py")}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(*arguments):
    with pytest.raises(UserError) as error:
        load_config(*arguments)
    return str(error.value)


def test_every_shipped_config_is_found_by_its_name_from_any_directory(elsewhere):
    assert len(CONFIGS) > 20
    for name, path in CONFIGS.items():
        assert find_config(name) == find_config(f"{name}.py") == (path, None)
        assert find_config(f"{name}:cpu") == (path, "cpu")


def test_a_name_is_the_file(elsewhere):
    config, workdir, mode = parse(["--config=digits_ssl_da", "--workdir=run"])
    assert (workdir, mode) == ("run", "run")
    assert config.to_dict() == load_config(str(CONFIGS["digits_ssl_da"])).to_dict()


@pytest.mark.parametrize("where", ["mnist_ssl_da", str(CONFIGS["mnist_ssl_da"])])
def test_a_preset_behind_a_colon_is_that_of_the_flag(where, elsewhere):
    default, inside = load_config(where), load_config(f"{where}:cpu")
    flag = parse([f"--config={where}", "--config.preset=cpu", "--workdir=run"])[0]
    assert inside.to_dict() == flag.to_dict() != default.to_dict()
    assert inside.preset == "cpu"
    assert parse([f"--config={where}:cpu", "--config.preset=cpu", "--workdir=run"])[0].to_dict() == flag.to_dict()


def test_two_presets_are_refused(elsewhere, refused):
    line = refused("run", "--config=mnist_ssl_da:cpu", "--config.preset=fast", "--workdir=run")
    assert "--config=mnist_ssl_da:cpu and --config.preset=fast name two presets: give one" in line
    assert not list(elsewhere.iterdir())


def test_a_preset_that_a_file_does_not_have_is_refused():
    assert "preset 'slow': choose default or faithful" in complaint("moons_dlsm:slow")
    assert "no preset 'cpu': this file has none" in complaint("digits_ssl_da:cpu")


def test_an_unknown_name_lists_what_is_shipped(elsewhere):
    message = complaint("digit_ssl")
    hint, listed = re.search(r"\((.+\?) there are (.+)\)$", message).groups()
    listed = listed.split(", ")
    assert hint == "did you mean digits_ssl?"
    assert "did you mean" not in complaint("nothing_like_it")
    assert message.startswith("--config=digit_ssl: there is no such file, nor a config of that name")
    assert listed == sorted(CONFIGS)
    for path in ("configs/digits_ssl_da.py", "../configs/digits_ssl_da"):  # a path is one from here
        assert f"--config={path}: there is no such file" in complaint(path)


def test_a_file_of_the_working_directory_comes_first(elsewhere):
    own = shutil.copy(CONFIGS["digits_pu"], elsewhere / "digits_ssl_da.py")
    assert find_config("digits_ssl_da.py") == (Path("digits_ssl_da.py"), None)
    assert load_config("digits_ssl_da.py").regime == load_config(str(own)).regime == "pu"
    assert load_config("digits_ssl_da").regime == "ssl"
    odd = shutil.copy(CONFIGS["digits_pu"], elsewhere / "odd:name.py")  # a colon of its own
    assert find_config("odd:name.py") == (Path(odd.name), None)
    assert find_config("odd:name.py:cpu") == (Path(odd.name), "cpu")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from scoressl_jax.config import default_config", "it is scoressl_jax.experiment.config now"),
        ("import scoressl_jax.config", "it is scoressl_jax.experiment.config now"),
        ("from scoressl_jax import recipes", "it is scoressl_jax.experiment.recipes now"),
        ("from scoressl_jax.moons.config import default_config", "it is scoressl_jax.studies.moons now"),
        ("from scoressl_jax.experiment.config import defaults", None),
        ("from scoressl_jax import nothing", None),
        ("import no_such_package", None),
    ],
)
def test_config_files_of_the_former_version_are_told_where_things_are(line, words, elsewhere):
    (elsewhere / "old.py").write_text(line + "\n")
    message = complaint("old.py")
    assert message.startswith("--config=old.py: ")
    assert message.endswith(words) if words else " now" not in message


@pytest.fixture
def told(scoressl):
    """{field: [line of the field, line of what it means]} of each kind, by title, of what --help prints."""
    code, out, errors = scoressl("run", "--help")
    assert (code, errors) == (0, [])
    blocks, lines = {}, out.splitlines()
    for line, below in zip(lines, lines[1:], strict=False):
        if line.startswith("Fields"):
            fields = blocks.setdefault(line, {})
        if line.startswith("  --config."):
            fields[line.strip().removeprefix("--config.").partition("=")[0]] = [line.strip(), below.strip()]
    return blocks


@pytest.mark.parametrize(("which", "kind"), [(0, IMAGES), (1, MOONS)])
def test_help_lists_every_field_with_default_meaning_and_allowed_values(which, kind, told):
    fields = dict(flat(kind.fields))
    found = list(told.values())[which]
    assert list(found) == list(fields)
    for name, field in fields.items():
        flag, meaning = found[name]
        value = f"'{field.default}'" if isinstance(field.default, str) else str(field.default)
        assert flag == f"--config.{name}={value}"
        assert meaning.startswith(field.meaning)
        assert len(field.meaning) > 3
        for allowed in field.allowed.names:
            assert allowed in meaning.removeprefix(field.meaning)
        if field.allowed.words:
            assert meaning.endswith(f"[{field.allowed.words.removeprefix('be ')}]")


def test_help_in_examples(told):
    images, moons = told.values()
    assert images["regime"][0] == "--config.regime='ssl'"
    assert images["regime"][1].endswith("[one of supervised, ssl, pu]")
    assert images["sde.sigma_min"] == [
        "--config.sde.sigma_min=0.01", "ve: lowest noise level, of images in [0, 1] [greater than 0]"
    ]  # fmt: skip
    assert images["sampling.classes"][0] == "--config.sampling.classes=()"
    assert moons["sde.focus"][0] == "--config.sde.focus=(3.0, 20.0)"
    assert moons["score.network"][1].endswith("[one of scaled, published]")


def test_help_lists_the_modes(scoressl):
    _, out, _ = scoressl("run", "--help")
    lines = out.splitlines()
    modes = lines[lines.index("Modes:") + 1 :]
    assert [line.split()[0] for line in modes[: len(MODES)]] == [
        "run", "check", "train_score", "train_teacher", "train_classifier", "sample", "evaluate", "report",
    ]  # fmt: skip
    assert all(len(line.split()) > 3 for line in modes[: len(MODES)])


@pytest.mark.parametrize(
    "name", ["tests/tiny.py", "digits_pu", "mnist_ssl_da:cpu", "cifar10_dlsm", "moons_dlsm:faithful"]
)
def test_the_command_that_is_kept_rebuilds_the_config_from_nothing(name, at_root):
    flags = ["--config.score.steps=77", "--config.training.steps_per_call=3"]
    if "moons" not in name:
        flags += ["--config.sampling.interval=(0.1, 5.0)", "--config.data.path=my folder", "--config.data.name=npz"]
    config, *_ = parse([f"--config={name}", *flags, "--workdir=run"])
    command = shlex.split(repeating(config, "else where"))
    again, workdir, mode = parse(command[3:])
    assert command[:3] == ["python", "-m", "scoressl_jax.main"]
    assert {**again.to_dict(), "preset": ""} == {**config.to_dict(), "preset": ""}
    assert (workdir, mode) == ("else where", "run")


def test_a_second_program_in_a_directory_says_who_is_at_work_and_leaves(tmp_path, refused):
    run = Run(tmp_path / "run")
    with run.locked():
        said = refused("run", f"--config={ROOT}/tests/tiny.py", f"--workdir={tmp_path / 'run'}", "--mode=train_score")
        assert f"process {os.getpid()} on {socket.gethostname()} is at work there" in said
        assert not (tmp_path / "run" / "config.json").exists()
    with run.locked():
        pass  # and it is free again
    assert not (tmp_path / "run" / "holder.json").exists()


def test_the_lock_of_a_process_that_died_is_free(tmp_path):
    hold = (
        "import os, sys; from scoressl_jax.experiment.run import Run\n"
        "with Run(sys.argv[1]).locked(): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", hold, str(tmp_path)]).returncode == 9
    assert (tmp_path / "holder.json").exists()
    with Run(tmp_path).locked():
        assert json.loads((tmp_path / "holder.json").read_text())["process"] == os.getpid()


def test_another_choice_on_the_command_line_leaves_behind_what_the_file_set_for_its_own(at_root):
    name = ["--config=mnist_ssl_da", "--workdir=run"]  # predictor_corrector with langevin, 1,000 steps
    assert parse(name)[0].sampling.corrector == "langevin"
    config = parse([*name, "--config.sampling.sampler=ode", "--config.sampling.tolerance=0.01"])[0]
    plan = config.sampling
    assert (plan.sampler, plan.corrector, plan.steps, plan.tolerance) == ("ode", "none", 20, 0.01)
    validate(config)
    heun = parse([*name, "--config.sampling.sampler=heun"])[0]
    assert (heun.sampling.corrector, heun.sampling.steps) == ("none", 1000)
    asked = parse([*name, "--config.sampling.sampler=heun", "--config.sampling.corrector=langevin"])[0]
    with pytest.raises(UserError, match="corrector is 'langevin', but config.sampling.sampler heun"):
        validate(asked)
    same = parse([*name, "--config.sampling.sampler=predictor_corrector"])[0]
    assert (same.sampling.corrector, same.sampling.steps) == ("langevin", 1000)
    with pytest.raises(UserError, match="choose one of"):
        validate(parse([*name, "--config.sampling.sampler=nonesuch"])[0])


def test_the_help_of_check_is_its_own(scoressl):
    _, out, _ = scoressl("check", "--help")
    assert out.startswith("scoressl check --config=FILE [--workdir=DIR]")
    assert "Modes:" not in out
    assert "--config.score.steps=900\n" in out


def test_after_one_stage_it_says_what_follows(scoressl, at_root, tmp_path):
    flags = ("--config=tests/tiny.py", "--config.score.steps=10", f"--workdir={tmp_path / 'run'}")
    code, out, _ = scoressl("run", *flags, "--mode=train_score")
    assert code == 0
    last = "train_score is done: --mode=train_classifier is next, or --mode=run for all the rest"
    assert out.splitlines()[-1] == last


def test_a_teacher_comes_before_the_classifier_where_there_is_one():
    taught, alone = load_config("digits_ssl_da"), load_config("digits_ssl")
    assert next_mode(IMAGES, taught, "train_score") == "train_teacher"
    assert next_mode(IMAGES, taught, "train_teacher") == "train_classifier"
    assert next_mode(IMAGES, alone, "train_score") == "train_classifier"
    assert next_mode(IMAGES, alone, "train_classifier") == "sample"
    assert next_mode(MOONS, load_config("moons_dlsm"), "train_score") == "train_classifier"
    assert next_mode(IMAGES, taught, "report") is next_mode(IMAGES, taught, "run") is None
