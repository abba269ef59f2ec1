"""Which values the fields of an experiment may have, whatever its data; each failure is one UserError."""

import math
from pathlib import Path

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import DTYPES, SPLIT_OVER_DEVICES
from scoressl_jax.experiment.fields import check_devices, check_names, check_order, check_ranges
from scoressl_jax.methods.score_ssl import UNLABELED_TERMS
from scoressl_jax.metrics.features import FEATURES
from scoressl_jax.metrics.manifold import INSIDE
from scoressl_jax.models.ncsnpp import PYRAMIDS
from scoressl_jax.models.resnet import STAGES
from scoressl_jax.models.scaling import POSITIONAL, SCALINGS
from scoressl_jax.sampling.few_steps import SCHEDULES, SOLVERS
from scoressl_jax.sampling.inverse import HIDDEN, TASKS
from scoressl_jax.sampling.loop import PRIORS
from scoressl_jax.sampling.predictor_corrector import CORRECTORS, NORMS, PREDICTORS

NAMES = {
    "regime": ("supervised", "ssl", "pu"),
    "dtype": tuple(DTYPES),
    "score.scaling": SCALINGS,
    "score.pyramid": PYRAMIDS,
    "score.times": ("stratified", "uniform"),
    "score.schedule": ("constant", "cosine"),
    "classifier.kind": ("noisy", "denoising_assisted"),
    "classifier.norm": ("group", "instance++"),
    "classifier.times": ("stratified", "uniform"),
    "classifier.schedule": ("constant", "cosine"),
    "classifier.temporal_time": ("shifted", "same"),
    "classifier.temporal_noise": ("shared", "fresh"),
    "sampling.sampler": (*SOLVERS, "predictor_corrector", "ode"),
    "sampling.schedule": SCHEDULES,
    "sampling.predictor": PREDICTORS,
    "sampling.corrector": CORRECTORS,
    "sampling.norms": NORMS,
    "sampling.prior": PRIORS,
    "sampling.task": TASKS,
    "sampling.hidden": tuple(HIDDEN),
    "evaluation.features": FEATURES,
    "evaluation.reference": ("train", "test"),
    "evaluation.convention": tuple(INSIDE),
    "evaluation.divergence": ("hutchinson", "exact"),
}
POSITIVE = (
    "score.batch_size",
    "score.steps",
    "score.learning_rate",
    "score.clip",
    "score.width",
    "score.blocks",
    "score.embedding",
    "score.patch",
    "sde.sigma_min",
    "sde.beta_min",
    "classifier.batch_size",
    "classifier.unlabeled_batch_size",
    "classifier.steps",
    "classifier.learning_rate",
    "classifier.clip",
    "classifier.widen",
    "classifier.width",
    "classifier.blocks",
    "classifier.embedding",
    "classifier.patch",
    "sampling.batch_size",
    "sampling.count",
    "sampling.tolerance",
    "sampling.snr",
    "evaluation.batch_size",
    "evaluation.judge_patch",
    "data.prior_steps",
    "evaluation.times",
    "evaluation.curve_images",
    "evaluation.likelihood_tolerance",
    "evaluation.k",
    "training.steps_per_call",
    "training.checkpoint_every",
)
NOT_NEGATIVE = (
    "seed",
    "score.warmup",
    "score.weight_decay",
    "classifier.warmup",
    "classifier.weight_decay",
    "classifier.random_shift",
    "sampling.corrector_steps",
    "sampling.scale",
    "evaluation.judge_steps",
    "evaluation.judge_noise",
    "evaluation.cas_steps",
    "evaluation.likelihood_images",
    "training.max_rollbacks",
)
BELOW_ONE = ("score.ema", "classifier.ema", "score.dropout", "classifier.random_affine")
FRACTIONS = ("evaluation.accuracy_t", "evaluation.gradient_t", "classifier.tau", "classifier.threshold")


def validate(config):
    """Ranges and names that do not depend on the data, each failure one UserError."""
    check_names(config, NAMES)
    check_ranges(config, POSITIVE, NOT_NEGATIVE, BELOW_ONE, FRACTIONS, at_least_two=("sampling.steps",))
    check_order(config, ("sde.sigma_min", "sde.sigma_max"), ("sde.beta_min", "sde.beta_max"))
    if config.classifier.network == "wide_resnet" and (config.classifier.depth - 4) % 6:
        raise UserError(
            f"config.classifier.depth is {config.classifier.depth}: it must be 6 n + 4 (10, 16, 22, 28 ...)"
        )
    if config.classifier.network == "resnet" and config.classifier.depth not in STAGES:
        raise UserError(f"config.classifier.depth is {config.classifier.depth}: a resnet has 18 or 34")
    for name in ("score", "classifier"):
        if config[name].network == "mlp" and config[name].patch > 1:
            raise UserError(f"config.{name}.patch is {config[name].patch}, but an mlp has no patches: set it to 1")
    validate_scaling(config)
    if not 0 <= config.data.class_prior < 1:
        raise UserError(
            f"config.data.class_prior is {config.data.class_prior}: give the share of positives among the unlabelled "
            "images, between 0 and 1, or 0 to estimate it"
        )
    validate_terms(config)
    validate_generation(config)
    validate_sampling(config.sampling)
    check_devices(config, SPLIT_OVER_DEVICES)


def validate_scaling(config):
    """The networks of score_sde that see a time or an index belong to their processes, and have a U-Net."""
    scaling, processes = config.score.scaling, {"time": ("vp", "subvp"), "index": ("ve",), "sigma": ("ve",)}
    if config.sde.name not in processes.get(scaling, (config.sde.name,)):
        raise UserError(
            f"config.score.scaling is {scaling!r}, for config.sde.name {' or '.join(processes[scaling])}, but that is "
            f"{config.sde.name!r}: change one of them (time is for vp and subvp, gaussian for every process)"
        )
    if scaling in POSITIONAL and config.score.network != "ncsnpp":
        raise UserError(f"config.score.scaling {scaling!r} is for config.score.network ncsnpp: change one of them")


def validate_terms(config):
    terms = config.classifier.terms
    if not any(terms[name] for name in terms):
        raise UserError("every weight in config.classifier.terms is 0: give at least ce a weight")
    if config.regime == "supervised" and any(terms[name] for name in UNLABELED_TERMS):
        used = [name for name in UNLABELED_TERMS if terms[name]]
        raise UserError(
            f"regime supervised has no unlabelled images, but config.classifier.terms weighs {used}: set them to 0"
        )
    if terms.prior and config.regime != "pu":
        raise UserError("config.classifier.terms.prior is for regime pu: set it to 0")


def validate_generation(config):
    """What comparing samples with real images needs, where it is asked for and can be done."""
    plan, count = config.evaluation, config.sampling.count
    if plan.features == "inception" and not Path(plan.inception_weights).is_file():
        raise UserError(
            f"config.evaluation.inception_weights is {plan.inception_weights!r}: features inception needs the file of "
            "its weights (README, How good are the samples)"
        )
    measured = plan.features in ("inception", "pixels") or (plan.features == "judge" and plan.judge_steps)
    if measured and count <= plan.k:
        raise UserError(
            f"config.sampling.count is {count}: make it greater than config.evaluation.k, which is {plan.k}, or set "
            "config.evaluation.features=none"
        )


def validate_sampling(sampling):
    """Options of samplers; t_init leaves room for steps above the sampling eps, 0.001 at most."""
    if not 0.05 <= sampling.t_init <= 1:
        raise UserError(f"config.sampling.t_init is {sampling.t_init}: it must lie in [0.05, 1]")
    if not 0 <= sampling.eta <= 1:
        raise UserError(f"config.sampling.eta is {sampling.eta}: it must lie in [0, 1]")
    levels = tuple(sampling.interval)
    numbers = all(isinstance(level, int | float) and math.isfinite(level) for level in levels)
    if levels and not (numbers and len(levels) == 2 and 0 <= levels[0] < levels[1]):
        raise UserError(
            f"config.sampling.interval is {levels}: give two noise levels, the lower first, as in "
            "--config.sampling.interval='(0.1, 5.0)', or () for all"
        )
    if sampling.sampler == "ode" and sampling.task != "none":
        raise UserError(f"config.sampling.task {sampling.task} is not for sampler ode: choose one that takes steps")
    corrections = 0 if sampling.corrector == "none" else sampling.corrector_steps
    if sampling.sampler == "predictor_corrector" and sampling.predictor == "none" and not corrections:
        raise UserError("config.sampling.predictor and the corrector are both none: nothing would be drawn")
