"""python -m scoressl_jax.importers FILE --to=DIR: a released checkpoint of score_sde becomes a run of ours.

FILE is a checkpoint of the JAX program (checkpoint_12) or of the PyTorch program (checkpoint_12.pth). DIR gets a
config.json with what the file tells of the network, and its raw and averaged weights as a finished score stage, which
`--config.score.init_from=run:DIR` takes.
"""

import argparse
import json
import sys
from pathlib import Path

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.experiment.checks import validate
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.init_run import NETWORK
from scoressl_jax.experiment.jobs import optimizer_of
from scoressl_jax.experiment.runs import parameter_count
from scoressl_jax.files import write_json
from scoressl_jax.training.checkpoints import Checkpoints
from scoressl_jax.training.state import init_state
from scoressl_jax.weights.score_sde import TORCH_FILES, read_bytes, read_flax, read_torch


def parse(argv):
    parser = argparse.ArgumentParser("python -m scoressl_jax.importers", description=__doc__.split("\n\n")[0])
    parser.add_argument("file", help="checkpoint of score_sde's JAX program, or .pth of its PyTorch program")
    parser.add_argument("--to", required=True, metavar="DIR", help="directory of the run to make")
    parser.add_argument("--image-size", type=int, default=32, help="height of the images that it was trained on (32)")
    parser.add_argument(
        "--attention", type=int, nargs="*", default=[16], help="heights with attention, where the file is silent (16)"
    )
    parser.add_argument("--sde", choices=("ve", "vp", "subvp"), help="its process (Fourier embedding: ve, else vp)")
    parser.add_argument("--sigma-max", type=float, default=50.0, help="of ve, where the file is silent (50)")
    return parser.parse_args(argv)


def convert(options):
    """Read, write, and return (config, number of parameters)."""
    target = Path(options.to)
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"--to={target} is not empty: name another directory")
    torch_file = read_bytes(options.file, 2).startswith(TORCH_FILES)
    weights = (read_torch if torch_file else read_flax)(options.file, options.image_size)
    config = config_of(weights, options)
    state = init_state(weights.params, optimizer_of(config.score))
    state = state.replace(ema_params=weights.ema_params, step=state.step + weights.step)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--to={target} cannot be made ({error.strerror}): name another directory") from None
    checkpoints = Checkpoints(target / "checkpoints" / "score")
    checkpoints.save(state, 0.0)
    checkpoints.close()
    write_json(target / "config.json", json.loads(config.to_json()))
    return config, parameter_count(weights.ema_params)


def config_of(weights, options):
    """The default config with the network and the process of the weights."""
    if options.sde in ("vp", "subvp") and weights.scalings == ("sigma",):
        raise UserError(f"--sde={options.sde}: {options.file} has a Fourier embedding, as for ve: leave --sde out")
    config = default_config()
    config.score.update({"attention": tuple(options.attention)} | weights.fields)
    config.score.steps = weights.step
    config.sde.name = options.sde or ("ve" if weights.scalings == ("sigma",) else "vp")
    config.sde.sigma_min, config.sde.sigma_max = weights.noise or (0.01, options.sigma_max)
    config.score.scaling = "index" if config.sde.name == "ve" and "index" in weights.scalings else weights.scalings[0]
    validate(config)
    return config


def flags(config, target):
    """Pairs of a field and its value as the command line takes it."""
    yield "score.init_from", f"run:{target}"
    for name in ("scaling", *NETWORK):
        value = config.score[name]
        yield f"score.{name}", f"'{value}'" if isinstance(value, tuple) else value
    names = ("name", "sigma_min", "sigma_max") if config.sde.name == "ve" else ("name",)
    for name in names:
        yield f"sde.{name}", config.sde[name]


def main(argv):
    try:
        options = parse(argv)
        config, parameters = convert(options)
    except UserError as error:
        print(f"scoressl_jax: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    print(f"{options.to}: {parameters:,} parameters after {config.score.steps:,} steps")
    print("take it, where a config says otherwise with all of these:")
    print(" ".join(f"--config.{name}={value}" for name, value in flags(config, options.to)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
