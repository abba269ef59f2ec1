"""scoressl run --config=FILE --workdir=DIR [--mode=MODE] [--config.FIELD=VALUE ...]

The same as python -m scoressl_jax.main. FILE is a config file or the name of one that is shipped (digits_ssl_da); a
preset of it follows a colon, FILE:PRESET, or is given by --config.preset. It may be left out where DIR holds a run.
"""

import difflib
import importlib.util
import inspect
import itertools
import json
import shlex
from importlib.machinery import SourceFileLoader
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from scoressl_jax.devices import prepare_jax, use_cores
from scoressl_jax.errors import UserError, one_line
from scoressl_jax.experiment import estimate
from scoressl_jax.experiment.adopt import adopt, rehearse
from scoressl_jax.experiment.data import check_apart
from scoressl_jax.experiment.fields import as_read, batch_sizes, config_of, described, leave_behind
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.labels import has_teacher
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Kind, Work, execute
from scoressl_jax.files import flat, path_of
from scoressl_jax.studies.kinds import kind_of
from scoressl_jax.studies.moons.study import MOONS

MODES = {
    "run": "every stage in order, going on where it was stopped",
    "check": "what would be trained, with how much memory and how long; writes nothing",
    "train_score": "the score network, on all images",
    "train_teacher": "the teacher of config.teacher.method, and its labels",
    "train_classifier": "the classifier, above the score network",
    "sample": "images drawn under the classifier's guidance",
    "evaluate": "every figure of results.json",
    "report": "report.html anew, from the run's files alone",
}
CHECK = f"""scoressl check --config=FILE [--workdir=DIR] [--config.FIELD=VALUE ...]

{MODES["check"].capitalize()}. FILE and FIELDs are those of
scoressl run, whose --help says more; with DIR of a run, also whether that would go on so.
"""
ALONE = tuple(MODES)[2:]  # of single stages, in order
MOVED = {  # where config files of version 0.1 import from
    "scoressl_jax.config": "scoressl_jax.experiment.config",
    "scoressl_jax.recipes": "scoressl_jax.experiment.recipes",
    "scoressl_jax.moons": "scoressl_jax.studies.moons",
}
PACKAGE = Path(__file__).parents[1]
# As installed, else in a checkout: beside an installed package, configs/ would be somebody else's.
SHIPPED = next((folder for folder in (PACKAGE / "configs", PACKAGE.parent / "configs") if folder.is_dir()), PACKAGE)


def parse(argv: list) -> tuple:
    """(config, workdir, mode) from the arguments; the config is a run's own where --config is left out."""
    own, argv = flags.FlagValues(), with_equals(argv)
    flags.DEFINE_string("workdir", None, "Directory of the run.", flag_values=own)
    flags.DEFINE_enum("mode", "run", tuple(MODES), "What to do.", flag_values=own)
    base, rest = take_config_file(argv)
    workdir = next((a.split("=", 1)[1] for a in rest if a.lstrip("-").startswith("workdir=")), None)
    if base is None:
        base = config_of_workdir(workdir)
    try:
        config_flags.DEFINE_config_dict("config", base, flag_values=own, sys_argv=["main", *rest])
        left = own(["main", *rest])
        config = own.config
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"command line: {complaint(error)}") from None
    if left[1:]:
        raise UserError(f"command line: {left[1]!r} is not a flag; write --name=value")
    if not own.workdir and own.mode != "check":
        raise UserError("command line: --workdir=DIR is missing: name the directory of the run")
    if own.workdir:
        path_of(own.workdir, "--workdir")
    kind, given = kind_of(config), {a.split("=")[0].lstrip("-").removeprefix("config.") for a in rest}
    leave_behind(config, kind.fields, kind.choices, given)
    return config, own.workdir, own.mode


def complaint(error: Exception) -> str:
    """What is wrong with a flag, in words."""
    if isinstance(error, flags.Error):
        return one_line(error)
    message = one_line(error)
    if isinstance(error, AttributeError | KeyError):
        while error.args and isinstance(error.args[0], Exception):  # the library wraps its own KeyError
            error = error.args[0]
        words = str(error.args[0] if error.args else error)
        message = f"there is no config field {'. '.join(words.splitlines())}"
    return f"{message} (--help lists all fields)"


def with_equals(argv: list) -> list:
    """`--config FILE` and the like as `--config=FILE`."""
    names, out = ("--config", "--config.preset", "--workdir", "--mode"), []
    for argument in argv:
        out.append(f"{out.pop()}={argument}" if out and out[-1] in names else argument)
    return out


def take_config_file(argv: list) -> tuple:
    """(ConfigDict of --config=FILE[:PRESET] or None, the other arguments)."""
    files = [a.split("=", 1)[1] for a in argv if a.startswith("--config=")]
    presets = [a.split("=", 1)[1] for a in argv if a.startswith("--config.preset=")]
    rest = [a for a in argv if not a.startswith("--config=")]
    return (load_config(files[-1], *presets[-1:]) if files else None), rest


def find_config(name: str) -> tuple:
    """(path, preset or None) of FILE, NAME of a shipped config, either with :PRESET."""
    for text, preset in ((name, None), tuple(name.rsplit(":", 1)) if ":" in name else (name, None)):
        shipped = SHIPPED / f"{text.removesuffix('.py')}.py"
        path = path_of(text, "--config")
        if path.is_file():
            return path, preset
        if "/" not in text and shipped.is_file():
            return shipped, preset
    known = sorted(path.stem for path in SHIPPED.glob("*.py") if path.stem != "__init__")
    near = difflib.get_close_matches(name.rsplit(":", 1)[0], known, 1)
    hint = f"did you mean {near[0]}? there are " if near else ""
    raise UserError(f"--config={name}: there is no such file, nor a config of that name ({hint}{', '.join(known)})")


def load_config(name: str, *preset: str) -> ConfigDict:
    """What get_config of the file returns; a preset is its argument, for files that have several."""
    path, inside = find_config(name)
    if inside is not None and preset and preset[0] != inside:
        raise UserError(f"--config={name} and --config.preset={preset[0]} name two presets: give one")
    preset = (inside,) if inside is not None else preset
    try:
        spec = importlib.util.spec_from_loader("experiment", SourceFileLoader("experiment", str(path)))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if preset and not inspect.signature(module.get_config).parameters:
            raise ValueError(f"there is no preset {preset[0]!r}: this file has none")
        config = module.get_config(*preset)
    except ImportError as error:
        raise UserError(f"--config={name}: {type(error).__name__}: {one_line(error)}{moved(error)}") from None
    except Exception as error:
        raise UserError(f"--config={name}: {type(error).__name__}: {one_line(error)}") from None
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={name}: get_config() must return a ConfigDict, e.g. default_config()")
    return config


def moved(error: ImportError) -> str:
    """Where what could not be imported is now; nothing where it never was."""
    for old, new in MOVED.items():
        package, _, name = old.rpartition(".")
        if error.name == old or (error.name == package and f"import name {name!r}" in str(error)):
            return f": it is {new} now"
    return ""


def config_of_workdir(workdir: str | None) -> ConfigDict:
    if workdir is None or not Run(workdir).exists:
        raise UserError("command line: --config=FILE is missing, and --workdir holds no run to take it from")
    values = Run.open(workdir).config
    try:
        return config_of(values, kind_of(values).fields)
    except UserError as error:
        raise UserError(f"{workdir}/{error}") from None


def usage(checks: bool) -> str:
    """What --help prints: modes, and every field with its default, meaning and allowed values; of `scoressl check`, no
    modes."""
    lines = [CHECK] if checks else [__doc__, "Modes:", *(f"  {name:<18}{text}" for name, text in MODES.items())]
    for title, kind in (("Fields:", IMAGES), ("Fields of the two moons (configs/moons_dlsm.py):", MOONS)):
        lines += ["", title]
        lines += [f"  {name}\n      {text}" for name, text in described(kind.fields)]
    return "\n".join(lines)


def needs_no_data(kind: Kind, run: Run, config: ConfigDict, mode: str) -> bool:
    """Whether a mode can take the run's own word on its data, which are those that the config asks for."""
    stages = [stage for stage in kind.stages if stage.is_of(mode)]
    if not stages or any(stage.needs_data for stage in stages):
        return False
    asked, had = json.loads(config.data.to_json()), run.config["data"]
    return "image_shape" in run.data and all(had.get(name, value) == value for name, value in asked.items())


def repeating(config, workdir: str) -> str:
    """The command that does from nothing what a config says: a shipped config, and every field that is not as there."""
    base = f"moons_dlsm:{config.preset}" if kind_of(config) is MOONS else "digits_ssl_da"
    plain = dict(flat(load_config(base)))
    differ = {n: v for n, v in flat(config) if n != "preset" and as_read(v) != as_read(plain.get(n))}
    flags = [f"--config.{name}={value}" for name, value in differ.items()]
    program = ["python", "-m", "scoressl_jax.main", f"--config={base}"]
    return shlex.join([*program, *flags, f"--workdir={workdir}"])


def check(kind: Kind, config: ConfigDict, workdir: str | None) -> int:
    """What a run would train; a UserError where the one that is in `workdir` would not go on so."""
    run = Run(workdir) if workdir else None
    there = run is not None and run.exists
    experiment = kind.build(config, Run.open(workdir).config if there else None)
    if there:
        rehearse(Work(kind, run, experiment, mode="check"))
    estimate.check(kind, experiment)
    return 0


def next_mode(kind: Kind, config: ConfigDict, mode: str) -> str | None:
    """The mode of a single stage that comes after one; None after the last, and after a mode of several."""
    taught = kind is IMAGES and has_teacher(config)
    alone = [name for name in ALONE if taught or name != "train_teacher"]
    return dict(itertools.pairwise(alone)).get(mode)


def main(argv: list) -> int:
    if {"--help", "-h"} & set(argv):
        print(usage(checks="--mode=check" in argv))
        return 0
    config, workdir, mode = parse(argv)
    kind = kind_of(config)
    prepare_jax()
    use_cores(batch_sizes(config, kind.fields))
    if mode == "check":
        return check(kind, config, workdir)
    run = Run(workdir)
    if kind is IMAGES and not run.exists:
        check_apart(config, run.workdir)
    known = Run.open(workdir).config if run.exists else None
    without_data = run.exists and needs_no_data(kind, run, config, mode)
    experiment = kind.open(run, config) if without_data else kind.build(config, known)
    work = Work(kind, run, experiment, mode=mode)
    with run.locked():
        adopt(work, repeating(config, workdir), without_data)
        if work.first_process and not without_data:
            print(kind.described(experiment))
        execute(kind, mode, work)
    follows = next_mode(kind, config, mode)
    if follows and work.first_process:
        print(f"{mode} is done: --mode={follows} is next, or --mode=run for all the rest")
    return 0
