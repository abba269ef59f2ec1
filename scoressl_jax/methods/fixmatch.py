"""FixMatch (Sohn et al. 2020): what the classifier is sure of on a weakly augmented image is the label of its strongly
augmented copy. With distribution alignment (ReMixMatch) and FreeMatch's adaptive thresholds (Wang et al. 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.losses.semi_supervised import adaptive_thresholds, aligned, cross_entropy, running
from scoressl_jax.methods.learner import field, logits_of


@dataclass(frozen=True, kw_only=True)
class FixMatch:
    threshold: float = field(0.95, "tau: the probability from which a prediction is a label", most=1)
    weight: float = field(1.0, "lambda_u, of the unlabelled images")
    alignment: bool = field(True, "predictions are first moved towards the labelled images' shares of classes")
    adaptive: bool = field(False, "the threshold of each class is FreeMatch's, in place of tau")
    decay: float = field(0.99, "of the running averages that alignment and adaptive need", most=1)
    strong_labels: bool = field(True, "labelled images are strongly augmented too; the paper's are weakly")
    PAPER: ClassVar = {
        "unlabeled_batch_size": 448,
        "fixmatch.alignment": False,
        "fixmatch.strong_labels": False,
    }

    def start(self, sizes):
        """Running averages of the mean prediction and of the confidence, even at first."""
        even = jnp.full(sizes.classes, 1 / sizes.classes)
        return {"mean": even, "confidence": even[0], "shares": jnp.asarray(sizes.shares, jnp.float32)}

    def loss(self, learner, batch, key, memory):
        key_x, key_weak, key_strong = jax.random.split(key, 3)
        augment = learner.strong if self.strong_labels else learner.weak
        logits = logits_of(  # one batch, so that batch normalisation sees the mixture, as the authors' does
            learner.network,
            x=augment(batch["x"], key_x),
            weak=learner.weak(batch["x_u"], key_weak),
            strong=learner.strong(batch["x_u"], key_strong),
        )
        labels, mask, memory = self.labelled(jax.nn.softmax(jax.lax.stop_gradient(logits["weak"])), memory)
        ce, pseudo = cross_entropy(logits["x"], batch["y"]), cross_entropy(logits["strong"], labels, mask)
        return ce + self.weight * pseudo, {"ce": ce, "pseudo": pseudo, "pseudo_rate": mask.mean()}, memory

    def labelled(self, p, memory):
        """(labels, mask, memory) of predictions `p [U, C]` on the weakly augmented images."""
        memory = memory | {
            "mean": running(memory["mean"], p.mean(0), self.decay),
            "confidence": running(memory["confidence"], p.max(-1).mean(), self.decay),
        }
        if self.alignment:
            p = aligned(p, memory["shares"], memory["mean"])
        labels = p.argmax(-1)
        limit = self.threshold
        if self.adaptive:
            limit = adaptive_thresholds(memory["confidence"], memory["mean"])[labels]
        return labels, (p.max(-1) >= limit).astype(p.dtype), memory
