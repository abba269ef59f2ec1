"""Every field of the two-moons study with its default (our preset), and which values are allowed."""

from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import check_devices, check_names, check_order, check_ranges

LOSSES = ("ce", "dlsm", "dlsm_ce")  # of the classifiers


def default_config():
    """Ours: the networks, losses and schedule that measure best in minutes on two cores."""
    config = ConfigDict()
    config.seed = 0
    config.preset = "default"
    config.data = ConfigDict(dict(name="moons"))
    # focus: noise levels of which training sees more than their share (score.focus, classifier.focus).
    config.sde = ConfigDict(dict(sigma_min=0.05, sigma_max=50.0, focus=(3.0, 20.0)))
    config.score = ConfigDict(
        dict(
            network="scaled",  # scaled: ours, published: the released program's (models/moons.py)
            power=1.25,  # DSM is weighted by sigma^(2 power)
            batch_size=1000,
            steps=2500,
            learning_rate=1e-2,
            warmup=100,
            schedule="cosine",  # constant, cosine
            ema=0.999,
            times="stratified",  # stratified, uniform
            focus=0.6,  # share of the noise levels that lies in sde.focus; 0 is none
        )
    )
    config.classifier = ConfigDict(
        dict(
            network="scaled",
            power=2.0,  # DLSM is weighted by sigma^(2 power)
            ce_weight=0.125,  # of CE in dlsm_ce
            runs=5,  # classifiers trained with each loss, for the spread of the curves; the first one is measured
            batch_size=500,
            steps=2200,
            learning_rate=dict(ce=1e-2, dlsm=1e-2, dlsm_ce=1e-2),
            warmup=100,
            schedule="cosine",
            ema=0.998,
            times="stratified",
            focus=0.85,
        )
    )
    config.sampling = ConfigDict(
        dict(
            count=2000,  # of each class, by each method and each sampler
            langevin_steps=1000,
            langevin_step=3.5,
            langevin_rule="unadjusted",  # unadjusted: at one sigma; published: see sampling/langevin.py, rising sigma
            reverse_steps=300,
        )
    )
    config.evaluation = ConfigDict(
        dict(
            sigma=7.5,  # noise level of score errors and of Langevin sampling
            scale=10.0,  # alpha of the scaling method
            neighbours=5,  # k of precision, recall, density, coverage
        )
    )
    config.training = ConfigDict(dict(steps_per_call=100, checkpoint_every=1000, max_rollbacks=0))
    return config.lock()


NAMES = {
    f"{stage}.{field}": names
    for stage in ("score", "classifier")
    for field, names in (
        ("network", ("scaled", "published")),
        ("schedule", ("constant", "cosine")),
        ("times", ("stratified", "uniform")),
    )
} | {"sampling.langevin_rule": ("unadjusted", "published")}
POSITIVE = (
    "sde.sigma_min",
    "score.batch_size",
    "score.steps",
    "score.learning_rate",
    "classifier.batch_size",
    "classifier.steps",
    "classifier.runs",
    *(f"classifier.learning_rate.{loss}" for loss in LOSSES),
    "sampling.langevin_steps",
    "sampling.langevin_step",
    "evaluation.neighbours",
    "training.steps_per_call",
    "training.checkpoint_every",
)
NOT_NEGATIVE = ("seed", "score.warmup", "classifier.warmup", "classifier.ce_weight", "training.max_rollbacks")
SPLIT_OVER_DEVICES = ("score.batch_size", "classifier.batch_size", "sampling.count")


def validate(config):
    """Names and ranges; each failure is one UserError."""
    check_names(config, NAMES)
    check_ranges(
        config,
        POSITIVE,
        NOT_NEGATIVE,
        below_one=("score.ema", "classifier.ema", "score.focus", "classifier.focus"),
        at_least_two=("sampling.reverse_steps",),
    )
    check_order(
        config,
        ("sde.sigma_min", "evaluation.sigma"),
        ("evaluation.sigma", "sde.sigma_max"),
        ("evaluation.neighbours", "sampling.count"),
    )
    if len(config.sde.focus) != 2:
        raise UserError(f"config.sde.focus is {tuple(config.sde.focus)}: give two noise levels, (low, high)")
    low, high = config.sde.focus
    if not config.sde.sigma_min <= low < high <= config.sde.sigma_max:
        raise UserError(f"config.sde.focus is {(low, high)}: it must rise, within sigma_min and sigma_max")
    check_devices(config, SPLIT_OVER_DEVICES)
