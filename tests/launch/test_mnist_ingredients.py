"""launch/mnist_ingredients.sh: the commands that it gives, which are whole, and its complaints."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from scoressl_jax.commands.run import parse
from scoressl_jax.experiment.config import validate
from scoressl_jax.experiment.objective import weights_of

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "mnist_ingredients.sh"
NAMES = re.findall(r"\[(\w+)\]=", SCRIPT.read_text())


def commands(*arguments):
    """{(workdir, mode): config} of what the script would start, with `echo` for an interpreter."""
    done = subprocess.run([SCRIPT, *arguments], env=os.environ | {"PYTHON": "echo"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        module, name, *flags = shlex.split(line)
        assert (module, name) == ("-m", "scoressl_jax.main")
        config, workdir, mode, *_ = parse(flags)
        validate(config)
        found[workdir, mode] = config
    return found


def test_every_ingredient_is_trained_and_measured():
    found = commands("runs/mnist_4", "out", "4")
    assert set(found) == {(f"out/{name}_4", mode) for name in NAMES for mode in ("train_classifier", "evaluate")}
    for (workdir, _), config in found.items():
        assert (config.preset, config.data.num_labels, config.seed, config.data.split_seed) == ("cpu", 1000, 4, 4)
        assert config.score.init_from == "run:runs/mnist_4"
        assert (config.regime == "supervised") == workdir.startswith("out/labels")
    terms = {workdir[4:-2]: {name for name, weight in weights_of(config).items() if weight}
             for (workdir, _), config in found.items()}
    base = {"ce", "ce_tau"}
    assert terms == {
        "labels": base, "labels_dlsm": base | {"dlsm"}, "labels_da": base,
        "pseudo": base | {"pseudo"}, "temporal": base | {"pseudo", "temporal"},
        "denoising": base | {"pseudo", "temporal", "denoising"},
        "score_ssl": base | {"pseudo", "temporal", "denoising", "dlsm", "pseudo_dlsm"},
        "da": base | {"pseudo"}, "da_temporal": base | {"pseudo", "temporal"},
    }  # fmt: skip
    assisted = {workdir[4:-2] for (workdir, _), c in found.items() if c.classifier.kind == "denoising_assisted"}
    assert assisted == {"labels_da", "da", "da_temporal"}


def test_chosen_ingredients_and_more_flags():
    found = commands("runs/mnist_0", "out", "0", "pseudo", "--config.classifier.steps=7", "da")
    assert [workdir for workdir, mode in found if mode == "evaluate"] == ["out/pseudo_0", "out/da_0"]
    assert {config.classifier.steps for config in found.values()} == {7}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs/mnist_0", "out"), "SCORE_RUN, OUT or SEED is missing"),
        (("runs/mnist_0", "out", "one"), "SEED is 'one'"),
        (("runs/mnist_0", "out", "0", "salt"), "there is no ingredient 'salt'"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
