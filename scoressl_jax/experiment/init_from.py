"""config.score.init_from: which reader a source names, and taking its weights into an experiment."""

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.init_run import noise_range, read_run
from scoressl_jax.experiment.runs import parameter_count
from scoressl_jax.weights.fit import check
from scoressl_jax.weights.score_sde import read_flax, read_torch

RELEASED = {"score_sde_torch": read_torch, "score_sde_flax": read_flax}


def load(source, height):
    """`run:DIR`, `score_sde_torch:FILE` or `score_sde_flax:FILE` -> Weights, for images `height` pixels high."""
    kind, _, path = source.partition(":")
    if not path or kind not in ("run", *RELEASED):
        raise UserError(
            f"config.score.init_from is {source!r}: give run:DIR, score_sde_torch:FILE.pth or score_sde_flax:FILE"
        )
    return read_run(path) if kind == "run" else RELEASED[kind](path, height)


def take_score(experiment):
    """(averaged parameters, block of results.json) of the score network that config.score.init_from names.

    Raises UserError for a source that cannot be read, and names what does not fit the config.
    """
    score, shape = experiment.config.score, experiment.dataset.image_shape
    weights = load(score.init_from, shape[0])
    resolutions = [shape[0] // score.patch >> level for level in range(len(score.multipliers))]
    noise = noise_range(experiment.sde)
    check(weights, score.init_from, score, resolutions, noise, experiment.score_network, shape)
    params = weights.ema_params
    print(f"score network: {parameter_count(params):,} parameters taken from {score.init_from}")
    return params, {"parameters": parameter_count(params), "steps": weights.step, "init_from": score.init_from}
