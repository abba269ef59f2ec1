"""scoressl import FILE --to=DIR: a released checkpoint of score_sde becomes a run of ours.

FILE is a checkpoint of the JAX program (checkpoint_12) or of the PyTorch program (checkpoint_12.pth). DIR gets a
config.json with what the file tells of the network, and its raw and averaged weights as a finished score stage, which
--config.score.init_from=run:DIR takes.

scoressl import FILE.pth --to=FILE.npz: the weights of the FID Inception-v3, pt_inception-2015-12-05-6726825d.pth of the
pytorch-fid project, as an .npz that is read without PyTorch.
"""

import json
import shlex
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from scoressl_jax.commands.arguments import Parser, at_least, check_target
from scoressl_jax.devices import check_devices
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import default_config, validate
from scoressl_jax.experiment.networks import SCORE_ARCHITECTURE, heights
from scoressl_jax.experiment.run import Run, parameter_count
from scoressl_jax.experiment.training import optimizer_of
from scoressl_jax.files import path_of, write_npz
from scoressl_jax.training.state import init_state
from scoressl_jax.weights.fit import Weights
from scoressl_jax.weights.inception import read_arrays
from scoressl_jax.weights.score_sde import TORCH_FILES, read_bytes, read_flax, read_torch

HINTS = {"image_size": 32, "attention": (16,), "sde": None, "sigma_max": 50.0}  # of score_sde's networks alone


def parse(argv: list) -> Namespace:
    parser = Parser("scoressl import", description=__doc__)
    parser.add_argument("file", metavar="FILE", help="checkpoint of score_sde, or Inception's .pth")
    parser.add_argument("--to", required=True, metavar="TARGET", help="directory of the run to make, or FILE.npz")
    parser.add_argument(
        "--image-size", type=at_least(1), metavar="N", help="height of the images that it was trained on (32)"
    )
    parser.add_argument(
        "--attention", type=int, nargs="*", metavar="N", help="heights with attention, where the file is silent (16)"
    )
    parser.add_argument("--sde", choices=("ve", "vp", "subvp"), help="its process (Fourier embedding: ve, else vp)")
    parser.add_argument("--sigma-max", type=float, metavar="X", help="of ve, where the file is silent (50)")
    options = parser.parse_args(argv)
    if ("inception" in Path(options.file).name or options.file.endswith(".npz")) and not options.to.endswith(".npz"):
        parser.error(f"--to={options.to} must end in .npz, as what becomes of Inception's weights does")
    given = [f"--{name.replace('_', '-')}" for name in HINTS if getattr(options, name) is not None]
    if options.to.endswith(".npz") and given:
        parser.error(f"{', '.join(given)}: for checkpoints of score_sde, but --to={options.to} is Inception's")
    for name, default in HINTS.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    return options


def make_run(options: Namespace) -> str:
    """A run of a checkpoint of score_sde; what was made, in words."""
    target = path_of(options.to, "--to")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"--to={target} is not empty: name another directory")
    torch_file = read_bytes(options.file, 2).startswith(TORCH_FILES)
    weights = (read_torch if torch_file else read_flax)(options.file, options.image_size)
    config = config_of(weights, options)
    state = init_state(weights.params, optimizer_of(config.score))
    state = state.replace(ema_params=weights.ema_params, step=state.step + weights.step)
    check_target("--to", target, target)
    run = Run(target)
    run.save_params("score", state)
    command = ["scoressl", "import", options.file, f"--to={options.to}", f"--image-size={options.image_size}"]
    run.write_config(json.loads(config.to_json()), shlex.join(command))
    return "\n".join(
        [
            f"{target}: {parameter_count(weights.ema_params):,} parameters after {config.score.steps:,} steps",
            "take it, where a config says otherwise with all of these:",
            " ".join(f"--config.{name}={value}" for name, value in flags(config, target)),
        ]
    )


def config_of(weights: Weights, options: Namespace) -> ConfigDict:
    """The default config with the network and the process of the weights."""
    if options.sde in ("vp", "subvp") and weights.scalings == ("sigma",):
        raise UserError(f"--sde={options.sde}: {options.file} has a Fourier embedding, as for ve: leave --sde out")
    config = default_config()
    config.score.update({"attention": tuple(options.attention)} | weights.fields)
    config.score.steps = weights.step
    config.sde.name = options.sde or ("ve" if weights.scalings == ("sigma",) else "vp")
    if config.sde.name == "ve":
        config.sde.sigma_min, config.sde.sigma_max = weights.noise or (0.01, options.sigma_max)
    config.score.scaling = "index" if config.sde.name == "ve" and "index" in weights.scalings else weights.scalings[0]
    validate(config)
    there = heights(config.score, options.image_size)
    strange = [n for n in config.score.attention if n not in there]
    if strange and options.attention is not HINTS["attention"]:
        raise UserError(
            f"--attention {strange[0]}: images of --image-size={options.image_size} make levels of "
            f"{', '.join(map(str, there))} pixels, one of which it must be"
        )
    config.score.attention = tuple(n for n in config.score.attention if n in there)
    return config


def flags(config: ConfigDict, target: Path) -> Iterator[tuple]:
    """Pairs of a field and its value as the command line takes it."""
    yield "score.init_from", f"run:{target}"
    for name in ("scaling", *SCORE_ARCHITECTURE):
        value = config.score[name]
        yield f"score.{name}", f"'{value}'" if isinstance(value, tuple) else value
    names = ("name", "sigma_min", "sigma_max") if config.sde.name == "ve" else ("name",)
    for name in names:
        yield f"sde.{name}", config.sde[name]


def make_npz(options: Namespace) -> str:
    """The .npz of Inception's file; what was made, in words."""
    target = path_of(options.to, "--to")
    arrays = read_arrays(options.file)
    check_target("--to", target, target.parent)
    write_npz(target, **arrays)
    return f"{target}: {len(arrays)} arrays of the Inception of FID, to be read without PyTorch"


def main(argv: list) -> int:
    options = parse(argv)
    check_devices()
    print((make_npz if options.to.endswith(".npz") else make_run)(options))
    return 0
