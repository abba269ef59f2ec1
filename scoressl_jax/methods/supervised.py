"""The labelled images alone, strongly augmented: what every other method has to beat."""

from dataclasses import dataclass
from typing import ClassVar

from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.methods.learner import logits_of


@dataclass(frozen=True, kw_only=True)
class Supervised:
    PAPER: ClassVar = {}

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        logits = logits_of(learner.network, x=learner.strong(batch["x"], key))["x"]
        loss = cross_entropy(logits, batch["y"])
        return loss, {"ce": loss, "accuracy": (logits.argmax(-1) == batch["y"]).mean()}, memory
