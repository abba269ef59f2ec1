"""Studies of images: the table of their stages."""

import numpy as np

from scoressl_jax.experiment import choice, estimate, samplers, teacher
from scoressl_jax.experiment.build import build, open_experiment
from scoressl_jax.experiment.class_prior import class_prior, estimate_prior, positive_job
from scoressl_jax.experiment.config import CHOICES, FIELDS
from scoressl_jax.experiment.data import is_estimated
from scoressl_jax.experiment.drawing import drawn, guides, sample, wanted, write_pngs
from scoressl_jax.experiment.init_from import classifier_weights, score_weights
from scoressl_jax.experiment.jobs import changes_of, classifier_job, score_job, teacher_job
from scoressl_jax.experiment.judge import can_judge, judge_job, measuring_job
from scoressl_jax.experiment.labels import has_teacher, label, taught, teacher_steps
from scoressl_jax.experiment.measure import evaluate, has_features
from scoressl_jax.experiment.run import parameter_count
from scoressl_jax.experiment.stages import Kind, Stage, trained
from scoressl_jax.experiment.training import optimizer_of
from scoressl_jax.report.page import summary, write_report
from scoressl_jax.training.state import init_state

SHARED = ("seed", "dtype", "sde")
JUDGED = tuple(
    f"evaluation.{name}"
    for name in ("batch_size", "judge_depth", "judge_widen", "judge_patch", "judge_learning_rate", "judge_noise")
)
LEARNT = tuple(f"teacher.{name}" for name in teacher.FIELDS if name != "hard")
TAUGHT = ("seed", "dtype", "regime", "data.class_prior", *LEARNT)
CHANGED = tuple(f"classifier.random_{name}" for name in ("flip", "shift", "affine"))


# The score network


def taken(config) -> bool:
    """Whether the score network's weights are taken as they are."""
    return bool(config.score.init_from) and not config.score.warm_start


def make_score_job(work):
    start = score_weights(work.experiment).ema_params if work.config.score.init_from else None
    return score_job(work.experiment, start)


def train_score(work) -> None:
    """Train the score network, or take the weights that config.score.init_from names into the run."""
    if not taken(work.config):
        work.run.record(score=work.run.train(make_score_job(work), work.stop))
        return
    weights, source = score_weights(work.experiment), work.config.score.init_from
    state = init_state(weights.ema_params, optimizer_of(work.config.score))
    work.run.save_params("score", state.replace(step=state.step + max(weights.step, 1), opt_state=()))
    count = parameter_count(weights.ema_params)
    print(f"score network: {count:,} parameters taken from {source}")
    work.run.record(score={"parameters": count, "steps": weights.step, "init_from": source})


# The classifier


def make_classifier_job(work):
    start = classifier_weights(work.experiment) if work.config.classifier.init_from else None
    return classifier_job(work.experiment, work.params("score"), class_prior(work), start, taught(work))


# What measures


def make_cas_job(work):
    images, labels = work.run.samples.get("images"), work.run.samples.get("labels")
    if images is None:  # --mode=check: as many blank ones cost the same
        plan, names = work.config.sampling, work.experiment.class_names
        labels = samplers.conditions(plan, names, work.experiment.dataset)["labels"]
        images = np.zeros((len(labels), *work.experiment.image_shape), np.uint8)
    return measuring_job(
        name="cas",
        config=work.config,
        images=images,
        labels=labels,
        num_classes=work.experiment.num_classes,
        steps=work.config.evaluation.cas_steps,
        changes=changes_of(work.config),
    )


def has_cas(work) -> bool:
    return work.config.evaluation.cas_steps > 0 and has_features(work)


def report(work) -> None:
    if work.first_process:
        write_report(work.run)
        print(summary(work.run))


def half_of_prior(half: int) -> Stage:
    return trained(
        f"class_prior_{half}",
        mode="train_classifier",
        also="train_teacher",
        job=lambda work: positive_job(work.experiment, half),
        steps=lambda config: config.data.prior_steps,
        applies=lambda work: is_estimated(work.config),
        reads=("seed", "dtype", "regime", "data.prior_steps", *JUDGED),
        data=("images", "labels"),
    )


STAGES = (
    trained(
        "score",
        mode="train_score",
        run=train_score,
        job=make_score_job,
        steps=lambda config: config.score.steps,
        target=lambda experiment: None if taken(experiment.config) else experiment.config.score.steps,
        schedule=lambda config: config.score.schedule,
        grows="score.steps",
        reads=(*SHARED, "score"),
        data=("images",),
    ),
    half_of_prior(0),
    half_of_prior(1),
    Stage(
        name="class_prior",
        mode="train_classifier",
        also="train_teacher",
        run=estimate_prior,
        needs=lambda config: ("class_prior_0", "class_prior_1"),
        applies=lambda work: is_estimated(work.config),
        makes=("class_prior.npz",),
        extent=lambda run: int("estimate" in run.arrays("class_prior")),
    ),
    Stage(
        name="choice",
        mode="train_teacher",
        run=choice.choose,
        applies=lambda work: work.config.teacher.method == teacher.AUTO,
        reads=TAUGHT,
        data=("images", "labels"),
        makes=("choice.json",),
        extent=lambda run: int("speaks" in run.choice),
        estimate=choice.amount,
    ),
    trained(
        "teacher",
        mode="train_teacher",
        job=lambda work: teacher_job(choice.chosen(work), prior=class_prior(work)),
        block=lambda work, measured: {"teacher": {"method": work.config.teacher.method, **measured}},
        steps=lambda config: config.teacher.steps,
        schedule=lambda config: config.teacher.schedule,
        applies=lambda work: has_teacher(work.config),
        grows="teacher.steps",
        needs=lambda config: (
            *(("choice",) if config.teacher.method == teacher.AUTO else ()),
            *(("class_prior",) if is_estimated(config) and teacher.needs_prior(config) else ()),
        ),
        extent=teacher_steps,
        reads=TAUGHT,
        data=("images", "labels"),
    ),
    Stage(
        name="labels",
        mode="train_teacher",
        run=label,
        needs=lambda config: ("teacher",),
        applies=lambda work: has_teacher(work.config),
        makes=("teacher.npz",),
        extent=lambda run: int("probabilities" in run.arrays("teacher")),
        renewed=True,
    ),
    trained(
        "classifier",
        mode="train_classifier",
        job=make_classifier_job,
        block=lambda work, measured: {"classifier": {"kind": work.config.classifier.kind, **measured}},
        steps=lambda config: config.classifier.steps,
        schedule=lambda config: config.classifier.schedule,
        grows="classifier.steps",
        needs=lambda config: (
            "score",
            *(("class_prior",) if is_estimated(config) else ()),
            *(("labels",) if has_teacher(config) else ()),
        ),
        reads=(*SHARED, "regime", "classifier", "data.class_prior", "teacher.method", "teacher.hard"),
        data=("images", "labels"),
    ),
    Stage(
        name="samples",
        mode="sample",
        run=sample,
        needs=guides,
        reads=("seed", "sampling"),
        data=lambda config: ("classes", "test") if config.sampling.task != "none" else ("classes",),
        makes=("samples/samples.npz",),
        extent=drawn,
        target=wanted,
        grows="sampling.count",
        renewed=True,
        estimate=estimate.sampling_line,
        needs_data=False,
    ),
    Stage(
        name="pictures",
        mode="sample",
        run=write_pngs,
        needs=lambda config: ("samples",),
        applies=lambda work: work.config.sampling.png,
        makes=("samples/png",),
        extent=lambda run: len(list((run.workdir / "samples" / "png").glob("*/*.png"))),
        target=wanted,
        renewed=True,
        needs_data=False,
    ),
    trained(
        "judge",
        mode="evaluate",
        job=lambda work: judge_job(work.experiment),
        steps=lambda config: config.evaluation.judge_steps,
        applies=lambda work: can_judge(work.experiment),
        beside=("samples",),
        reads=("seed", "evaluation.judge_steps", *JUDGED, *CHANGED),
        data=("images", "true_labels"),
    ),
    trained(
        "cas",
        mode="evaluate",
        job=make_cas_job,
        steps=lambda config: config.evaluation.cas_steps,
        applies=has_cas,
        beside=("samples",),
        needs=lambda config: ("samples",),
        reads=("seed", "evaluation.cas_steps", *JUDGED, *CHANGED),
        renewed=True,
    ),
    Stage(
        name="evaluation",
        mode="evaluate",
        run=evaluate,
        needs=lambda config: ("score", "classifier"),
        uses=("samples", "judge", "cas"),
        reads=("seed", "evaluation"),
        data=("images", "labels", "true_labels", "test", "classes"),
        makes=("evaluation.npz",),
        extent=lambda run: int("confusion" in run.evaluation),
        renewed=True,
    ),
    Stage(name="report", mode="report", run=report, every_time=True, needs_data=False),
)


def described(experiment) -> str:
    data, split = experiment.dataset, experiment.split
    line = (
        f"{data.name}: {len(data.x_train)} training images {data.image_shape}, {len(split.labeled)} labelled, "
        f"{len(split.unlabeled)} unlabelled, {len(data.x_test)} test images, {data.num_classes} classes"
    )
    return "; ".join([line, *data.notes])


def split_of(experiment) -> dict:
    """labels.json: which training images kept their labels."""
    split = experiment.split
    return {
        "labeled": split.labeled.tolist(),
        "unlabeled_count": len(split.unlabeled),
        "seed": experiment.config.data.split_seed,
    }


def built(config, known: dict | None = None):
    """As `build`; weights that the classifier is to begin with are read before anything is trained."""
    experiment = build(config, known)
    if config.classifier.init_from and not known:
        classifier_weights(experiment)
    return experiment


IMAGES = Kind(
    fields=FIELDS,
    choices=CHOICES,
    build=built,
    open=open_experiment,
    stages=STAGES,
    facts=lambda experiment: experiment.prepared.facts,
    split=split_of,
    described=described,
)
