"""Weights of another run of ours."""

import json
from pathlib import Path

import numpy as np

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.experiment.build import build_sde
from scoressl_jax.experiment.config import default_config
from scoressl_jax.sde import TRAINING_EPS
from scoressl_jax.training.checkpoints import read_averages
from scoressl_jax.weights.fit import Weights

# Fields of config.score that make the network.
NETWORK = ("network", "width", "multipliers", "blocks", "attention", "embedding", "fir", "pyramid", "patch")


def noise_range(sde):
    """Lowest and highest noise-to-signal ratio of training."""
    return tuple(np.exp(np.asarray(sde.log_sigma(np.array([TRAINING_EPS, 1.0])))).tolist())


def read_config(path):
    try:
        config = default_config()
        config.update(json.loads((path / "config.json").read_text()))
    except OSError as error:
        raise UserError(f"{path} is no run ({error.strerror}: config.json): check config.score.init_from") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}/config.json cannot be read ({one_line(error)}): restore it") from None
    return config


def read_run(path):
    """The averaged weights of a finished score stage."""
    path = Path(path)
    config = read_config(path)
    step, params = read_averages(path / "checkpoints" / "score")
    if step != config.score.steps:
        raise UserError(
            f"the score network of {path} has {step} of its {config.score.steps} steps: finish it first, "
            f"python -m scoressl_jax.main --workdir={path} --mode=train_score"
        )
    fields = {name: config.score[name] for name in NETWORK}
    return Weights(params, params, step, (config.score.scaling,), fields, noise_range(build_sde(config)))
