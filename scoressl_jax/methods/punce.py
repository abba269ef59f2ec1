"""puNCE (Acharya et al. 2022, "Positive Unlabeled Contrastive Learning"): features that are alike for labelled
positives, and for both copies of an image, then nnPU.

Here the features themselves are compared, where the paper learns a projection of them, and nnPU goes on to train the
whole network, where the paper trains a linear classifier of features that stay as they are.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.losses.positive_unlabeled import punce
from scoressl_jax.methods.learner import field
from scoressl_jax.methods.nnpu import NNPU
from scoressl_jax.methods.score_ssl import over_views


@dataclass(frozen=True, kw_only=True)
class PuNCE(NNPU):
    first: float = field(0.5, "share of training in which features are learnt", most=1)
    temperature: float = field(0.5, "of the similarities", least=0.01)
    PAPER: ClassVar = {  # a batch of 1,024 images of the whole set, 17 labelled ones of MNIST's 1,000 among them
        "batch_size": 17,
        "unlabeled_batch_size": 1007,
        "steps": 17_600,
        "weight_decay": 1e-4,
    }

    def loss(self, learner, batch, key, memory):
        count, prior = len(batch["x"]), memory["prior"]
        augment = learner.strong if self.strong else learner.weak
        images = jnp.concatenate([batch["x"], batch["x_u"]])
        views = {name: (augment(images, k),) for name, k in zip(("one", "other"), jax.random.split(key), strict=True)}
        (logits, one), (more, other) = over_views(learner.network, views).values()
        contrast = punce(one, other, jnp.arange(len(images)) < count, prior, self.temperature)
        f = jnp.stack([logits, more])
        f = f[..., 1] - f[..., 0]
        risk, logs = self.risk(f[:, :count].ravel(), f[:, count:].ravel(), prior)
        loss = jnp.where(learner.progress < self.first, contrast, risk)
        return loss, logs | {"contrast": contrast}, memory
