"""LaplaceNet (Sellars, Aviles-Rivero and Schönlieb 2022): from time to time the labels are spread over a graph of all
images' features, and the network learns what it says of every image, with mixup. The authors change labelled images by
one operation of RandAugment, others by two; here all are changed alike."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.losses.semi_supervised import mixup, soft_cross_entropy
from scoressl_jax.methods.graph import certainty, class_mass, graph, neighbours, propagate
from scoressl_jax.methods.learner import field, logits_of


@dataclass(frozen=True, kw_only=True)
class LaplaceNet:
    """The first graph is made after the share `first` of training, until when the labelled images are alone; then there
    are `graphs` of them, evenly spaced. The paper's labels all count alike."""

    first: float = field(0.25, "share of training before the first graph", most=1)
    graphs: int = field(3, "how many are made, evenly spaced over the rest", least=1)
    neighbours: int = field(50, "k of the graph", least=1)
    power: float = field(3.0, "of the similarities, which makes them weights", least=0.1)
    alpha: float = field(0.99, "how far labels spread", most=0.9999)
    sure: bool = field(True, "labels count by their certainty, 1 - entropy; False: all alike")
    mixing: float = field(0.5, "alpha of mixup's Beta distribution", least=1e-3)
    copies: int = field(1, "augmented copies of each batch", least=1)
    PAPER: ClassVar = {
        "depth": 28,
        "widen": 2,
        "batch_size": 48,
        "unlabeled_batch_size": 252,
        "steps": 250_000,
        "strong": "rand_augment",
        "cutout": 0.5,
        "laplacenet.first": 0.0052,  # of 4,000 labels: a hundred passes of 13 batches, then a graph every 182 steps
        "laplacenet.graphs": 1366,
        "laplacenet.power": 1.0,
        "laplacenet.sure": False,
        "laplacenet.mixing": 1.0,
        "laplacenet.copies": 3,
    }

    @property
    def rounds(self) -> tuple:
        return tuple(self.first + (1 - self.first) * i / self.graphs for i in range(self.graphs))

    def start(self, sizes):
        """Labels of all images, and how much each counts: nothing yet."""
        shares = jnp.asarray(sizes.shares, jnp.float32)
        return {"labels": jnp.zeros(sizes.images, jnp.int32), "weights": jnp.zeros(sizes.images), "shares": shares}

    def between(self, features, y, memory):
        """The graph step: the labels that every image has from the graph of the features."""
        labeled, classes = np.flatnonzero(y >= 0), len(memory["shares"])
        made = graph(*neighbours(features, self.neighbours), power=self.power)
        z = propagate(made, y, labeled, classes, alpha=self.alpha)
        others = np.flatnonzero(y < 0)
        z[others] = class_mass(z[others], np.asarray(memory["shares"]))
        weights = certainty(z) if self.sure else np.ones(len(z))
        return memory | {"labels": z.argmax(1).astype(np.int32), "weights": weights.astype(np.float32)}

    def loss(self, learner, batch, key, memory):
        keys = jax.random.split(key, self.copies)
        losses, right = zip(*(self.of_copy(learner, batch, k, memory) for k in keys), strict=True)
        loss = sum(losses) / self.copies
        return loss, {"ce": loss, "accuracy": sum(right) / self.copies}, memory

    def of_copy(self, learner, batch, key, memory):
        """Cross-entropy of one mixed copy of labelled and unlabelled images, and the share of it that is right."""
        key_x, key_u, key_mix = jax.random.split(key, 3)
        shares, known = memory["shares"], memory["weights"].max() > 0
        one_hot = lambda labels: jax.nn.one_hot(labels, len(shares))  # noqa: E731
        again = jnp.arange(len(batch["x_u"])) % len(batch["x"])  # before the first graph labelled images alone
        x_u = jnp.where(known, batch["x_u"], batch["x"][again])
        labels = jnp.where(known, memory["labels"][batch["u"]], batch["y"][again])
        weights = jnp.where(known, memory["weights"][batch["u"]], 1.0)
        images = jnp.concatenate([learner.strong(batch["x"], key_x), learner.strong(x_u, key_u)])
        p = jnp.concatenate([one_hot(batch["y"]), one_hot(labels) * weights[:, None]])
        images, p = mixup(images, p, key_mix, self.mixing)
        logits = logits_of(learner.network, all=images)["all"]
        right = (logits.argmax(-1) == p.argmax(-1)).mean()
        return soft_cross_entropy(logits, p), right
