"""What a method for few labels is, and what it is given.

A method is a frozen dataclass whose fields are its hyperparameters, each made with `field`, with

    PAPER                                   {field of the block `teacher`, dotted: value} of its paper
    loss(learner, batch, key, memory) -> (loss, logs {name: scalar}, memory)
    start(sizes) -> memory                  what it carries from step to step; () where nothing

batch: `x [B, H, W, C]`, `y [B]` labelled; `x_u [U, H, W, C]`, `u [U]` unlabelled and their places in the training set.
Images come as they are, in [0, 1]; the method asks for the augmented copies that it wants. A method with `rounds`, the
shares of training at which it stops to look at all images, has

    between(features [N, F], y [N], memory) -> memory      y is -1 where not known

A method with a network of its own, which need not be a CleanResNet, has

    network(classes, image_shape) -> flax module           x -> (logits [B, classes], features [B, F])

A method of positive and unlabelled images has two classes, of which 1 is positive, and y is 1; `x_u` are the others,
whose share of positives it is told if it has `needs_prior`. One with `held_out`, a share of the labelled images that it
does not learn from, has

    calibration(p [H, C]) -> array                         of the network's probabilities of those
    calibrated(p [N, C], calibration) -> [N, C]            what is answered in place of the network's probabilities
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scoressl_jax.methods.score_ssl import over_views


def field(default, meaning: str, *, least: float = 0, most: float = float("inf")):
    """A hyperparameter with its default, what it means and the range of its values."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "least": least, "most": most})


class Learner(NamedTuple):
    """network, average: x -> (logits, features), with the parameters that are trained and with their average, through
    which no gradient flows. weak, strong: (x, key) -> x. progress: share of the steps that are done."""

    network: Callable
    average: Callable
    weak: Callable
    strong: Callable
    progress: jax.Array


class Sizes(NamedTuple):
    """Of the task: training images, classes, and the share of each class among the labelled images; how many labelled
    images it learns from; the share of positives among the unlabelled images, where that is known."""

    images: int
    classes: int
    shares: tuple
    labeled: int = 0
    prior: float | None = None


def logits_of(network: Callable, **views) -> dict:
    """{name: logits} of views {name: images}, which go through the network as one batch."""
    found = over_views(network, {name: (x,) for name, x in views.items()})
    return {name: logits for name, (logits, _) in found.items()}


def scores_of(network: Callable, **views) -> dict:
    """{name: log odds `[B]` of class 1 against 0} of views, as logits_of."""
    return {name: logits[:, 1] - logits[:, 0] for name, logits in logits_of(network, **views).items()}


def linear(progress, until: float):
    """A weight's linear rise from 0 to 1 over the first share `until` of training."""
    return jnp.clip(progress / until, 0, 1) if until else 1.0
