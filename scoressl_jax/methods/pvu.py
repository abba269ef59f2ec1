"""Labelled positives against unlabelled images (Elkan and Noto 2008, "Learning Classifiers from Only Positive and
Unlabeled Data"): g = P(labelled | x) is learnt as if unlabelled images were negatives, and P(positive | x) = g / c."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.losses.positive_unlabeled import elkan_noto, label_frequency
from scoressl_jax.methods.learner import field, scores_of


@dataclass(frozen=True, kw_only=True)
class PvU:
    held_out: float = field(0.1, "share of the labelled positives by which c is found", least=0.01, most=0.9)
    PAPER: ClassVar = {}

    def start(self, sizes):
        """The share of labelled images, by which both parts of a batch are weighed as in the set of all of them."""
        return {"share": jnp.float32(sizes.labeled / sizes.images)}

    def loss(self, learner, batch, key, memory):
        key_x, key_u = jax.random.split(key)
        f = scores_of(learner.network, x=learner.strong(batch["x"], key_x), u=learner.strong(batch["x_u"], key_u))
        of_labeled, of_unlabeled = jax.nn.softplus(-f["x"]).mean(), jax.nn.softplus(f["u"]).mean()
        loss = memory["share"] * of_labeled + (1 - memory["share"]) * of_unlabeled
        return loss, {"labeled": of_labeled, "unlabeled": of_unlabeled}, memory

    def calibration(self, p):
        """c, of probabilities `[H, 2]` of the positives that were held out."""
        return np.asarray(label_frequency(p[:, 1]))

    def calibrated(self, p, c):
        """P(positive | x) as `[N, 2]`, of the network's probabilities."""
        positive = np.asarray(elkan_noto(p[:, 1], c))
        return np.stack([1 - positive, positive], axis=1)
