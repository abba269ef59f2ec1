"""Semi-supervised variational autoencoders (Kingma, Rezende, Mohamed and Welling 2014, "Semi-Supervised Learning with
Deep Generative Models"): M2, eq. 9, and M2 of the latent variable of M1."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.methods.learner import field
from scoressl_jax.models.vae import SemiSupervisedVAE


@dataclass(frozen=True, kw_only=True)
class SSLVAE:
    """Images are not augmented. M1 is fitted first, then it stays as it is; the paper's M2 leaves out what varies
    little of its latent variable."""

    stacked: bool = field(True, "M2 of M1's latent variable, the paper's best; False: M2 of pixels")
    first: float = field(0.5, "stacked: share of training in which M1 is fitted", most=1)
    alpha: float = field(0.1, "of the cross-entropy, against the bound of log p of an image")
    width: int = field(500, "of the hidden layers", least=1)
    latent: int = field(50, "dimensions of each latent variable", least=1)
    PAPER: ClassVar = {  # 3,000 passes of 200 batches
        "batch_size": 50,
        "unlabeled_batch_size": 300,
        "steps": 600_000,
        "learning_rate": 3e-4,
        "schedule": "constant",
    }

    def network(self, classes, image_shape):
        height, width, channels = image_shape
        return SemiSupervisedVAE(classes, height * width * channels, self.stacked, self.width, self.latent)

    def start(self, sizes):
        """The share of labelled images, by which their bound counts."""
        return {"share": jnp.float32(sizes.labeled / sizes.images)}

    def loss(self, learner, batch, key, memory):
        count = len(batch["x"])
        found = learner.network(jnp.concatenate([batch["x"], batch["x_u"]]), key=key, method="everything")
        ce = cross_entropy(found["logits"][:count], batch["y"])
        known = jnp.take_along_axis(found["bounds"][:count], batch["y"][:, None], axis=1).mean()
        unknown = over_classes(found["logits"][count:], found["bounds"][count:]).mean()
        loss = self.alpha * ce - memory["share"] * known - unknown
        logs = {"ce": ce, "bound": unknown}
        if self.stacked:
            logs |= {"first_bound": found["first"].mean()}
            loss = jnp.where(learner.progress < self.first, -logs["first_bound"], loss)
        return loss, logs, memory


def over_classes(logits, bounds):
    """The bound of log p(x) `[B]` without a label (eq. 7): the mean of the classes' bounds, and the entropy of q."""
    log_q = jax.nn.log_softmax(logits)
    return (jnp.exp(log_q) * (bounds - log_q)).sum(-1)
