"""The command line: python -m scoressl_jax.main --config=FILE --workdir=DIR [--mode=MODE] [--config.FIELD=VALUE ...]

This file is flags, the error line and the exit code; the work is in pipeline.py.
"""

import contextlib
import ctypes
import importlib.util
import inspect
import json
import os
import shlex
import signal
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from scoressl_jax.errors import Diverged, Interrupted, UserError, one_line

MODES = ("run", "train_score", "train_classifier", "sample", "evaluate", "report", "check")


def parse(argv):
    """(config, workdir, mode, command) from the arguments; the config is a run's own where --config is left out."""
    own, argv = flags.FlagValues(), with_equals(argv)
    flags.DEFINE_string("workdir", None, "Directory of the run.", flag_values=own)
    flags.DEFINE_enum("mode", "run", MODES, "What to do.", flag_values=own)
    base, rest = take_config_file(argv)
    workdir = next((a.split("=", 1)[1] for a in rest if a.lstrip("-").startswith("workdir=")), None)
    if base is None:
        base = config_of_run(workdir)
    try:
        config_flags.DEFINE_config_dict("config", base, flag_values=own, sys_argv=["main", *rest])
        left = own(["main", *rest])
        config = own.config
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        message, hint = one_line(error), ""
        if not isinstance(error, flags.Error):
            hint = f" (all fields: {module_of(base, 'config').__name__.replace('.', '/')}.py)"
        if isinstance(error, AttributeError | KeyError):
            while error.args and isinstance(error.args[0], Exception):  # the library wraps its own KeyError
                error = error.args[0]
            words = str(error.args[0] if error.args else error)
            message = f"there is no config field {'. '.join(words.splitlines())}"
        raise UserError(f"command line: {message}{hint}") from None
    if left[1:]:
        raise UserError(f"command line: {left[1]!r} is not a flag; write --name=value")
    if not own.workdir and own.mode != "check":
        raise UserError("command line: --workdir=DIR is missing: name the directory of the run")
    given = any(a.startswith(("--config=", "--config.")) for a in argv)
    whole = [a for a in argv if not a.startswith("--mode=")]
    command = "python -m scoressl_jax.main " + shlex.join(whole) if given else None
    return config, own.workdir, own.mode, command


def with_equals(argv):
    """`--config FILE` and the like as `--config=FILE`."""
    names, out = ("--config", "--config.preset", "--workdir", "--mode"), []
    for argument in argv:
        out.append(f"{out.pop()}={argument}" if out and out[-1] in names else argument)
    return out


def take_config_file(argv):
    """(ConfigDict of --config=FILE or None, the other arguments)."""
    files = [a.split("=", 1)[1] for a in argv if a.startswith("--config=")]
    presets = [a.split("=", 1)[1] for a in argv if a.startswith("--config.preset=")]
    rest = [a for a in argv if not a.startswith("--config=")]
    return (load_config(files[-1], *presets[-1:]) if files else None), rest


def load_config(path, *preset):
    """What get_config of the file returns; `preset` is its argument, for files that have several."""
    if not Path(path).is_file():
        raise UserError(f"--config={path}: there is no such file")
    try:
        spec = importlib.util.spec_from_loader("experiment", SourceFileLoader("experiment", path))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if preset and not inspect.signature(module.get_config).parameters:
            raise ValueError(f"there is no preset {preset[0]!r}: this file has none")
        config = module.get_config(*preset)
    except Exception as error:
        raise UserError(f"--config={path}: {type(error).__name__}: {one_line(error)}") from None
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={path}: get_config() must return a ConfigDict, e.g. default_config()")
    return config


def config_of_run(workdir):
    path = Path(workdir or "") / "config.json"
    if workdir is None or not path.exists():
        raise UserError("command line: --config=FILE is missing, and --workdir holds no run to take it from")
    try:
        values = json.loads(path.read_text())
        config = module_of(values, "config").default_config()
        config.update(values)
        if "sampler" in config.get("sampling", {}) and "sampler" not in values["sampling"]:
            config.sampling.sampler = "predictor_corrector"  # the only one that runs had before there was a choice
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): restore or delete it") from None
    return config


def module_of(config, part):
    """The module that declares a config kind's fields (`config`), checks them (`check`) or runs it (`pipeline`)."""
    if config.get("data", {}).get("name") == "moons":
        part = {"config": "moons.config", "check": "moons.study", "pipeline": "moons.study"}[part]
    return importlib.import_module(f"scoressl_jax.{part}")


def keep_freed_memory():
    """Tell glibc to keep freed blocks: on CPU, XLA's temporaries then are not paged in anew at every step (1.2x)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL("libc.so.6").mallopt
            for parameter, value in ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**31 - 1)):  # trim, top pad, mmap thresholds
                mallopt(parameter, value)


def use_cores(config):
    """Make each CPU core a device, so that a batch of small images is split over them: about 2x on two cores.

    A device then computes on its own thread (no threads inside operations), with threads to spare for collectives.
    Left alone where the user set the number of devices, and for groups of processes. No effect on GPU and TPU.
    """
    import jax

    from scoressl_jax.experiment.fields import usable_cores

    flags = os.environ.get("XLA_FLAGS", "")
    if "host_platform_device_count" not in flags and not distributed():
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        devices = usable_cores(config, module_of(config, "config").SPLIT_OVER_DEVICES, cores)
        with contextlib.suppress(RuntimeError):  # a notebook that has used jax keeps the devices it has
            jax.config.update("jax_num_cpu_devices", devices)
        if devices > 1:
            os.environ.setdefault("NPROC", str(2 * devices))
        if devices == cores and "multi_thread_eigen" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"


def distributed():
    return "JAX_COORDINATOR_ADDRESS" in os.environ or os.environ.get("JAX_DISTRIBUTED") == "1"


def whole_number(name, least):
    """The environment variable `name` as a number of `least` or more."""
    text = os.environ.get(name, "")
    if not text.isdecimal() or int(text) < least:
        raise UserError(
            f"{name} is {text!r}: with JAX_COORDINATOR_ADDRESS set, it must be a whole number of {least} or more"
        )
    return int(text)


def prepare_jax():
    """Persistent compilation cache (JAX_COMPILATION_CACHE_DIR moves it), and several processes as one if asked for.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID name a group of processes; JAX_DISTRIBUTED=1 lets
    jax find out by itself (Cloud TPU, SLURM).
    """
    import jax

    keep_freed_memory()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scoressl_jax" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        count, index = whole_number("JAX_NUM_PROCESSES", 1), whole_number("JAX_PROCESS_ID", 0)
        if index >= count:
            raise UserError(f"JAX_PROCESS_ID is {index}: it must be below JAX_NUM_PROCESSES, which is {count}")
        jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], count, index)
    elif os.environ.get("JAX_DISTRIBUTED") == "1":
        jax.distributed.initialize()


def main(argv):
    """Run the command line; returns the exit code."""
    workdir = None
    if {"--help", "-h"} & set(argv):
        print(__doc__)
        return 0
    try:
        config, workdir, mode, command = parse(argv)
        prepare_jax()
        use_cores(config)
        if mode == "check":
            module_of(config, "check").check(config)
        else:
            module_of(config, "pipeline").execute(mode, config, workdir, command)
        return 0
    except (UserError, Diverged, Interrupted) as end:
        print(f"scoressl_jax: {one_line(end)}", file=sys.stderr)
        return end.exit_code
    except Exception as error:
        path = Path(workdir or ".") / "error.txt"
        with contextlib.suppress(OSError):  # a full disk may be the fault
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(traceback.format_exc())
        print(
            f"scoressl_jax: a fault of ours, {type(error).__name__}: {one_line(error)[:200]} (traceback in {path})",
            file=sys.stderr,
        )
        return 1


def leave(*_):
    """What signals do outside a run, where there is nothing to save; while it imports, nothing else is safe."""
    os.write(2, b"scoressl_jax: stopped where nothing is to be saved: run the same command again\n")
    os._exit(Interrupted.exit_code)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    sys.exit(main(sys.argv[1:]))
