"""The experiments in configs/, for the tests of their files and of what they do."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np

from scoressl_jax.commands.run import load_config, parse
from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
FILES = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}
PATHS = {name: path for name, path in FILES.items() if name != "moons_dlsm"}


def presets_of(path):
    """What --config.preset may be for a file, its default first, as the line says that refuses another."""
    try:
        load_config(str(path), "nonesuch")
    except UserError as error:
        named = re.search(r"preset 'nonesuch': choose (.+)", str(error))
        return named[1].split(" or ") if named else []


PRESETS = {name: presets_of(path) for name, path in FILES.items()}
EXPERIMENTS = {  # arguments of load_config
    name + (f"-{preset}" if preset else ""): (str(path), *([preset] if preset else []))
    for name, path in PATHS.items()
    if not name.endswith("few_labels")  # a teacher alone: methods have tests of their own
    for preset in ("", *PRESETS[name][1:])
}
SETS = {  # training images, height, channels, classes
    "mnist": (60_000, 28, 1, 10),
    "svhn_cropped": (73_257, 32, 3, 10),
    "cifar10": (50_000, 32, 3, 10),
    "cifar100": (50_000, 32, 3, 100),
}


def images(name, count, size, channels, classes, pixels=np.zeros):
    """A set with equally frequent classes; its pixels are all 0, which takes no memory, or else made by `pixels`."""
    x, y = pixels((count, size, size, channels), np.uint8), np.arange(count) % classes
    return make_dataset(name, x, y, x[:200], y[:200], [str(i) for i in range(classes)])


def command_of(name):
    """(config, workdir, mode) that the command in the docstring asks for."""
    text = ast.get_docstring(ast.parse(PATHS[name].read_text()))
    line = next(line for line in text.splitlines() if "python -m" in line)
    assert line.split()[:3] == ["python", "-m", "scoressl_jax.main"]
    return parse(shlex.split(line)[3:])[:3]
