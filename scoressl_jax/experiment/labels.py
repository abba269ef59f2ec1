"""The labels that a teacher gives to all training images: made by one stage, learned by another."""

import numpy as np

from scoressl_jax.experiment import speaker, teacher
from scoressl_jax.experiment.measure import shares


def has_teacher(config) -> bool:
    return config.teacher.method != teacher.NONE


def teacher_steps(run) -> int:
    """Steps of its schedule that are done: all of them where it was stopped as early as it should be."""
    done = run.steps_done("teacher")
    if not done:
        return 0
    steps, stop = (run.config["teacher"][name] for name in ("steps", "stop"))
    stop = run.choice.get("stop") or stop
    return steps if done == teacher.last_step(steps, stop) else round(done / stop)


def label(work) -> None:
    """Make teacher.npz: the teacher's probabilities for every training image, and what it takes to ask it again."""
    found = speaker.trained(work)
    probabilities = found.probabilities(work.experiment.dataset.x_train)
    block = {}
    hidden = work.experiment.split.unlabeled[work.experiment.dataset.y_train[work.experiment.split.unlabeled] >= 0]
    if len(hidden):  # only to measure: training never sees them
        right = probabilities[hidden].argmax(-1) == work.experiment.dataset.y_train[hidden]
        block = shares(len(hidden), unlabeled_accuracy=float(right.mean()))
    work.run.record(teacher=block | speaker.words(work.run, work.config))
    work.run.write_arrays("teacher", probabilities=probabilities, **found.arrays())


def taught(work):
    """The teacher's labels `[N, C]` of all training images; before there are any, as in --mode=check, even ones."""
    if not has_teacher(work.config):
        return None
    count, classes = len(work.experiment.dataset.x_train), work.experiment.num_classes
    p = work.run.arrays("teacher").get("probabilities", np.full((count, classes), 1 / classes, np.float32))
    return np.eye(classes, dtype=np.float32)[p.argmax(-1)] if work.config.teacher.hard else p
