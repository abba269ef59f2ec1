"""Pseudo-labels (Lee 2013): what the classifier is sure of is taken for a label of the same view."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from scoressl_jax.losses.semi_supervised import cross_entropy, pseudo_labels
from scoressl_jax.methods.learner import field, linear, logits_of


@dataclass(frozen=True, kw_only=True)
class PseudoLabel:
    weight: float = field(1.0, "of the unlabelled images")
    warm_up: float = field(0.4, "share of training over which the weight rises linearly", most=1)
    threshold: float = field(0.95, "probability from which a prediction is a label", most=1)
    PAPER: ClassVar = {"unlabeled_batch_size": 64}

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        key_x, key_u = jax.random.split(key)
        logits = logits_of(learner.network, x=learner.weak(batch["x"], key_x), u=learner.weak(batch["x_u"], key_u))
        labels, mask = pseudo_labels(logits["u"], self.threshold)
        ce, pseudo = cross_entropy(logits["x"], batch["y"]), cross_entropy(logits["u"], labels, mask)
        loss = ce + self.weight * linear(learner.progress, self.warm_up) * pseudo
        return loss, {"ce": ce, "pseudo": pseudo, "pseudo_rate": mask.mean()}, memory
