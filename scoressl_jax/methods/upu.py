"""uPU (du Plessis, Niu and Sugiyama 2015, "Convex Formulation for Learning from Positive and Unlabeled Data"): the
unbiased estimate of the risk, which flexible networks drive below zero."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.losses.positive_unlabeled import partial_risks
from scoressl_jax.methods.learner import field, scores_of

COMPARED = {  # by nnPU's authors on MNIST, who draw 30,000 images at once, labelled or not, and change none
    "batch_size": 500,
    "unlabeled_batch_size": 29_500,
    "steps": 200,
    "learning_rate": 1e-3,
    "weight_decay": 0.005,
    "schedule": "constant",
    "warmup": 0,
    "shift": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class UPU:
    """With the sigmoid loss sigmoid(l_1 - l_0) says which class, but is no probability; with the logistic it is one."""

    logistic: bool = field(False, "what a margin costs is logistic; False: sigmoid, as in Kiryo et al.'s comparison")
    strong: bool = field(True, "images are strongly augmented; False: weakly")
    needs_prior: ClassVar = True
    PAPER: ClassVar = COMPARED | {"upu.strong": False}

    @property
    def kind(self):
        return "logistic" if self.logistic else "sigmoid"

    def start(self, sizes):
        """The share of positives among the unlabelled images."""
        return {"prior": jnp.float32(sizes.prior)}

    def loss(self, learner, batch, key, memory):
        key_x, key_u = jax.random.split(key)
        augment = learner.strong if self.strong else learner.weak
        f = scores_of(learner.network, x=augment(batch["x"], key_x), u=augment(batch["x_u"], key_u))
        return *self.risk(f["x"], f["u"], memory["prior"]), memory

    def risk(self, positive, unlabeled, prior):
        """(loss, logs) of scores."""
        of_positives, of_negatives = partial_risks(positive, unlabeled, prior, self.kind)
        return of_positives + of_negatives, {"positives": of_positives, "negatives": of_negatives}
