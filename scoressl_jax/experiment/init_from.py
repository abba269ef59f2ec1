"""score.init_from and classifier.init_from: weights of other runs and of released files, checked against the config."""

import jax
import numpy as np

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import config_of_run
from scoressl_jax.experiment.jobs import classifier_init
from scoressl_jax.experiment.networks import SCORE_ARCHITECTURE, heights
from scoressl_jax.experiment.process import build_sde
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import path_of
from scoressl_jax.sde import TRAINING_EPS
from scoressl_jax.weights.fit import Weights, check, misfits
from scoressl_jax.weights.score_sde import read_flax, read_torch

RELEASED = {"score_sde_torch": read_torch, "score_sde_flax": read_flax}


def noise_range(sde) -> tuple:
    """Lowest and highest noise-to-signal ratio of training."""
    return tuple(np.exp(np.asarray(sde.log_sigma(np.array([TRAINING_EPS, 1.0])))).tolist())


def finished_stage(field: str, path: str, stage: str) -> tuple:
    """(run, its config, step) of a run whose `stage` is trained to its end; a UserError names config.`field`."""
    try:
        run = Run.open(path)
    except UserError as error:
        raise UserError(f"config.{field}: {error}") from None
    if run.config.get("data", {}).get("name") == "moons":
        raise UserError(
            f"config.{field}: {path} is a study of the two moons, whose networks take points in the plane, not images: "
            "name a run on images of the same size"
        )
    config, step = config_of_run(run), run.steps_done(stage)
    taken = stage == "score" and config.score.init_from and not config.score.warm_start
    if not step or (step != config[stage].steps and not taken):
        raise UserError(
            f"config.{field}: the {'score network' if stage == 'score' else stage} of {path} has {step} of its "
            f"{config[stage].steps} steps: finish it first, python -m scoressl_jax.main --workdir={path} "
            f"--mode=train_{stage}"
        )
    return run, config, step


def read_score_of_run(path: str) -> Weights:
    """The averaged weights of a finished score stage."""
    run, config, step = finished_stage("score.init_from", path, "score")
    params, score = run.params("score"), config.score
    fields = {name: score[name] for name in SCORE_ARCHITECTURE}
    return Weights(params, params, step, (score.scaling,), fields, noise_range(build_sde(config)))


def load(source: str, height: int) -> Weights:
    """`run:DIR`, `score_sde_torch:FILE` or `score_sde_flax:FILE` -> Weights, for images `height` pixels high."""
    kind, _, path = source.partition(":")
    if not path or kind not in ("run", *RELEASED):
        raise UserError(
            f"config.score.init_from is {source!r}: give run:DIR, score_sde_torch:FILE.pth or score_sde_flax:FILE"
        )
    path = str(path_of(path, "--config.score.init_from"))
    return read_score_of_run(path) if kind == "run" else RELEASED[kind](path, height)


def score_weights(experiment) -> Weights:
    """The score network that config.score.init_from names. Raises UserError for a source that cannot be read, and names
    what does not fit the config."""
    score, shape = experiment.config.score, experiment.image_shape
    weights = load(score.init_from, shape[0])
    check(
        weights,
        source=score.init_from,
        block="config.score",
        fields=score,
        resolutions=heights(score, shape[0]),
        noise=noise_range(experiment.sde),
        network=experiment.score_network,
        image_shape=shape,
    )
    return weights


def classifier_weights(experiment):
    """Averaged parameters of the classifier that config.classifier.init_from names, which training begins with."""
    source = experiment.config.classifier.init_from
    kind, _, path = source.partition(":")
    if kind != "run" or not path:
        raise UserError(f"config.classifier.init_from is {source!r}: give run:DIR, the directory of a run")
    path = str(path_of(path, "--config.classifier.init_from"))
    run, _, _ = finished_stage("classifier.init_from", path, "classifier")
    params = run.params("classifier")
    wrong = misfits(params, jax.eval_shape(classifier_init(experiment), jax.random.key(0)))
    if wrong:
        raise UserError(
            f"config.classifier.init_from: the classifier of {path} does not fit: {'; '.join(wrong)} (its network, the "
            "kind, the channels and the number of classes must be those of this config)"
        )
    return params
