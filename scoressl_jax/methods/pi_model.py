"""Pi-model (Laine and Aila 2017, "Temporal Ensembling for Semi-Supervised Learning", algorithm 1): two augmented copies
of an image get the same prediction."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from scoressl_jax.losses.semi_supervised import cross_entropy, squared_difference
from scoressl_jax.methods.learner import field, linear, logits_of


@dataclass(frozen=True, kw_only=True)
class PiModel:
    weight: float = field(10.0, "of the mean squared difference of probabilities")
    warm_up: float = field(0.4, "share of training over which the weight rises linearly", most=1)
    PAPER: ClassVar = {"unlabeled_batch_size": 64}

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        key_x, key_one, key_other = jax.random.split(key, 3)
        logits = logits_of(
            learner.network,
            x=learner.weak(batch["x"], key_x),
            one=learner.weak(batch["x_u"], key_one),
            other=learner.weak(batch["x_u"], key_other),
        )
        ce = cross_entropy(logits["x"], batch["y"])
        same = squared_difference(logits["one"], jax.lax.stop_gradient(jax.nn.softmax(logits["other"])))
        loss = ce + self.weight * linear(learner.progress, self.warm_up) * same
        return loss, {"ce": ce, "consistency": same}, memory
