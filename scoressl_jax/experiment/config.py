"""Every field of an experiment: the blocks that stand beside what they build, and the defaults together.

Files in configs/ start from `default_config()` and change what they need.
"""

from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import data, networks, objective, process, samplers, teacher, training
from scoressl_jax.experiment.fields import (
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    Field,
    Option,
    batch_sizes,
    check_devices,
    check_ignored,
    check_values,
    config_from,
    config_of,
    one_of,
)
from scoressl_jax.experiment.run import Run
from scoressl_jax.files import path_of
from scoressl_jax.metrics.features import FEATURES, extractor
from scoressl_jax.metrics.manifold import INSIDE

EVALUATION = dict(
    accuracy_t=Field(0.001, "time to which clean test images are diffused", FRACTION),
    times=Field(21, "points of the accuracy curve", POSITIVE),
    curve_images=Field(1000, "at most so many test images make the curve", POSITIVE),
    batch_size=Field(64, "images at a time, also in the judge's training", POSITIVE, per_device=True),
    gradient_t=Field(0.35, "time of the gradient pictures", FRACTION),
    likelihood_images=Field(64, "at most so many test images get their likelihood; 0: none", NOT_NEGATIVE),
    likelihood_tolerance=Field(1e-4, "of the ODE, relative and absolute", POSITIVE),
    divergence=Field("hutchinson", "hutchinson: one random probe an image; exact: as many as pixels",
                     one_of("hutchinson", "exact")),
    judge_steps=Field(500, "of the independent judge of samples; 0 leaves class agreement unmeasured", NOT_NEGATIVE),
    judge_depth=Field(10, "of the judge, a wide_resnet", networks.DEPTH),
    judge_widen=Field(1, "of the judge", POSITIVE),
    judge_patch=Field(1, "as score.patch", POSITIVE),
    judge_learning_rate=Field(2e-3, "of the judge", POSITIVE),
    judge_noise=Field(0.2, "std of the noise on its training images, which helps where these are few", NOT_NEGATIVE),
    features=Field("judge", "what samples and real images are compared by", one_of(*FEATURES)),
    inception_weights=Field("", "features inception: file of its weights, .pth or .npz", free=True),
    reference=Field("train", "real images to compare with", one_of("train", "test")),
    k=Field(5, "nearest neighbours of precision, recall, density, coverage", POSITIVE),
    convention=Field("prdc", "of the balls round the points", one_of(*INSIDE)),
    cas_steps=Field(300, "of the classifier trained on samples (classification accuracy score); 0: none", NOT_NEGATIVE),
)  # fmt: skip
COMPARED = {name: Option(extractor, ("evaluation.inception_weights",) * (name == "inception")) for name in FEATURES}
FIELDS = dict(
    preset=Field("", "which of a file's presets was taken, for files in configs/ that have several"),
    seed=Field(0, "of training, sampling and measuring", NOT_NEGATIVE),
    regime=Field("ssl", "supervised: labelled images alone; pu: positive and unlabelled", one_of(*data.REGIMES)),
    dtype=networks.DTYPE,
    data=data.FIELDS,
    sde=process.FIELDS,
    score=dict(
        init_from=Field("", "take weights: run:DIR, score_sde_torch:FILE.pth, score_sde_flax:FILE"),
        warm_start=Field(False, "init_from: train on from its weights, rather than take them as they are"),
        **networks.SCORE_FIELDS,
        **training.fields(steps=900, learning_rate=4e-3),
        likelihood_weighting=Field(False, "weigh noise levels by g(t)^2"),
        random_flip=Field(False, "mirror images at random"),
    ),
    teacher=teacher.FIELDS,
    classifier=dict(
        init_from=Field("", "begin training with the weights of another run's classifier: run:DIR"),
        **networks.CLASSIFIER_FIELDS,
        **training.fields(batch_size=16, steps=1800, learning_rate=6e-3, weight_decay=0.05),
        unlabeled_batch_size=Field(32, "unlabelled images a step", POSITIVE, per_device=True),
        random_flip=Field(False, "mirror images at random"),
        random_shift=Field(0, "move each image by up to so many pixels along either axis", NOT_NEGATIVE),
        random_affine=Field(
            0.0,
            "rotate, zoom and shear each: entries of the map up to so much from the identity's",
            training.BELOW_ONE,
        ),
        **objective.FIELDS,
    ),
    sampling=samplers.FIELDS,
    evaluation=EVALUATION,
    training=training.loop_fields(),
)
CHOICES = {
    "regime": data.REGIMES,
    "data.name": data.SOURCES,
    "sde.name": process.PROCESSES,
    "score.network": networks.SCORE_NETWORKS,
    **teacher.CHOICES,
    "classifier.network": networks.CLASSIFIER_NETWORKS,
    "sampling.sampler": samplers.SAMPLERS,
    "sampling.task": samplers.TASKS,
    "evaluation.features": COMPARED,
}


def default_config() -> ConfigDict:
    """The main job: a denoising-assisted semi-supervised run on the embedded 8x8 digits, sized for two CPU cores."""
    return config_from(FIELDS)


def validate(config: ConfigDict, known: dict | None = None) -> None:
    """Names and ranges that do not depend on the data, each failure one UserError.

    `known`: the fields of a run that there is already, which may hold some that nothing reads.
    """
    check_values(config, FIELDS)
    process.check(config)
    networks.check(config)
    data.check(config)
    teacher.check(config)
    objective.check(config)
    samplers.check(config.sampling)
    check_generation(config)
    if config.score.warm_start and not config.score.init_from:
        raise UserError("config.score.warm_start is True, but config.score.init_from names no weights to begin with")
    check_ignored(config, FIELDS, CHOICES, known)
    check_devices(config, FIELDS)


def check_generation(config: ConfigDict) -> None:
    """What comparing samples with real images needs, where it is asked for and can be done."""
    plan, count = config.evaluation, sum(config.sampling.per_class) or config.sampling.count
    weights = path_of(plan.inception_weights, "--config.evaluation.inception_weights")
    if plan.features == "inception" and not weights.is_file():
        raise UserError(
            f"config.evaluation.inception_weights is {plan.inception_weights!r}: features inception needs the file of "
            "its weights (docs/metrics.md)"
        )
    measured = plan.features in ("inception", "pixels") or (plan.features == "judge" and plan.judge_steps)
    if measured and count <= plan.k:
        asked = "per_class asks for {} images" if config.sampling.per_class else "count is {}"
        raise UserError(
            f"config.sampling.{asked.format(count)}: make it greater than config.evaluation.k, which is {plan.k}, or "
            "set config.evaluation.features=none"
        )


def config_of_run(run: Run) -> ConfigDict:
    return config_of(run.config, FIELDS)


def per_device(config: ConfigDict) -> list[int]:
    """The batch sizes that the devices share."""
    return batch_sizes(config, FIELDS)
