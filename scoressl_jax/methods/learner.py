"""What a method for few labels is, and what it is given.

A method is a frozen dataclass whose fields are its hyperparameters, each made with `field`, with

    PAPER                                   {field of the block `teacher`, dotted: value} of its paper
    loss(learner, batch, key, memory) -> (loss, logs {name: scalar}, memory)
    start(sizes) -> memory                  what it carries from step to step; () where nothing

batch: `x [B, H, W, C]`, `y [B]` labelled; `x_u [U, H, W, C]`, `u [U]` unlabelled and their places in the training set.
Images come as they are, in [0, 1]; the method asks for the augmented copies that it wants. A method with `rounds`, the
shares of training at which it stops to look at all images, has

    between(features [N, F], y [N], memory) -> memory      y is -1 where not known
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
    """Of the task: training images, classes, and the share of each class among the labelled images."""

    images: int
    classes: int
    shares: tuple


def logits_of(network: Callable, **views) -> dict:
    """{name: logits} of views {name: images}, which go through the network as one batch."""
    found = over_views(network, {name: (x,) for name, x in views.items()})
    return {name: logits for name, (logits, _) in found.items()}


def ramp(progress, until: float):
    """The sigmoid-shaped rise exp(-5 (1 - s)^2) of a weight, s from 0 to 1 over the first share `until` of training
    (Laine and Aila 2017)."""
    return jnp.exp(-5 * (1 - jnp.clip(progress / until, 0, 1)) ** 2) if until else 1.0


def linear(progress, until: float):
    """A weight's linear rise from 0 to 1 over the first share `until` of training."""
    return jnp.clip(progress / until, 0, 1) if until else 1.0
