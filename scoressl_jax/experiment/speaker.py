"""Who labels clean images: the teacher's network or, where the choice fell on it, what people use instead.

Both have `probabilities(images uint8 [N, H, W, C]) -> [N, classes]`, and `arrays()`, what teacher.npz keeps of them.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from scipy.special import softmax

from scoressl_jax.experiment.choice import INSTEAD, chosen
from scoressl_jax.experiment.teacher import Teacher, build_method, build_network, divided
from scoressl_jax.methods.baselines import refitted


@dataclasses.dataclass(frozen=True)
class NetworkSpeaker:
    """`method`: whose probabilities are calibrated, with its `calibration`, where there is one."""

    teacher: Teacher
    method: object = None
    calibration: np.ndarray | None = None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        p = softmax(self.teacher.outputs(images)["logits"], axis=-1)
        return p if self.calibration is None else self.method.calibrated(p, self.calibration)

    def arrays(self) -> dict:
        found = {f"statistics/{n}": np.asarray(a) for n, a in flatten_dict(self.teacher.statistics, sep="/").items()}
        return found | ({} if self.calibration is None else {"calibration": self.calibration})


@dataclasses.dataclass(frozen=True)
class InsteadSpeaker:
    """Fitted anew from its few labelled images, which is quick, whenever it is asked for."""

    images: np.ndarray
    labels: np.ndarray
    predict: Callable

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.predict(images).astype(np.float32)

    def arrays(self) -> dict:
        return {"instead_images": self.images, "instead_labels": self.labels}


def instead(run, classes: int, images, labels) -> InsteadSpeaker:
    """With the setting that was cross-validated."""
    speaks = run.choice["speaks"]
    setting = run.choice["candidates"][speaks]["setting"]
    return InsteadSpeaker(images, labels, refitted(INSTEAD[speaks], images, labels, setting, classes))


def network_of(config, classes: int, image_shape: tuple):
    return build_network(config.teacher, classes, config.dtype, tuple(image_shape))


def trained(work):
    """The speaker of a run that has its data; the network's statistics are those of its training images."""
    experiment, data, labeled = work.experiment, work.experiment.dataset, work.experiment.split.labeled
    if work.run.choice.get("speaks") in INSTEAD:
        return instead(work.run, experiment.num_classes, data.x_train[labeled], data.y_train[labeled])
    config = chosen(work).config
    network, method = network_of(config, experiment.num_classes, experiment.image_shape), build_method(config.teacher)
    found = NetworkSpeaker(Teacher.on(network, work.params("teacher"), data.x_train))
    _, left_out = divided(method, labeled, config.seed)
    if not len(left_out):
        return found
    return NetworkSpeaker(found.teacher, method, method.calibration(found.probabilities(data.x_train[left_out])))


def opened(run, config, classes: int):
    """The speaker of a run from its files alone; None where it has no teacher."""
    kept = run.arrays("teacher")
    if not kept:
        return None
    if "instead_images" in kept:
        return instead(run, classes, kept["instead_images"], kept["instead_labels"])
    found = {n.removeprefix("statistics/"): a for n, a in kept.items() if n.startswith("statistics/")}
    # A choice changes what is learned, never the network.
    network = network_of(config, classes, run.data["image_shape"])
    speaker = NetworkSpeaker(Teacher(network, run.params("teacher"), unflatten_dict(found, sep="/")))
    if "calibration" not in kept:
        return speaker
    return dataclasses.replace(speaker, method=build_method(config.teacher), calibration=kept["calibration"])


def words(run, config) -> dict:
    """What results.json says of who speaks, and why."""
    if not run.choice:
        return {"speaks": config.teacher.method}
    candidates = {n: {k: of[k] for k in ("share", "error")} for n, of in run.choice.get("candidates", {}).items()}
    return {name: run.choice[name] for name in ("speaks", "network", "stop", "why")} | {"candidates": candidates}
