"""FlowGMM (Izmailov et al. 2020, "Semi-Supervised Learning with Normalizing Flows"): a flow whose latent space has a
Gaussian for each class is fitted to all images; a label says which Gaussian."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.errors import UserError
from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.methods.learner import field, linear
from scoressl_jax.models.flow import Flow


@dataclass(frozen=True, kw_only=True)
class FlowGMM:
    """The paper's couplings are residual networks of eight blocks, and its flow factors out half of the channels."""

    width: int = field(32, "channels of the couplings' networks", least=1)
    couplings: int = field(2, "of each kind at each of two scales", least=1)
    spread: float = field(1.0, "standard deviation of the classes' means")
    label_weight: float = field(3.0, "of the cross-entropy")
    weight: float = field(1.0, "of the likelihood of one copy in the class of another")
    warm_up: float = field(0.033, "share of training over which that weight rises linearly", most=1)
    PAPER: ClassVar = {  # of MNIST with 100 labels, four batches a pass
        "batch_size": 32,
        "unlabeled_batch_size": 32,
        "steps": 120_000,
        "learning_rate": 1e-5,
        "schedule": "constant",
        "clip": 100.0,
        "flow_gmm.width": 64,
        "flow_gmm.couplings": 3,
    }

    def network(self, classes, image_shape):
        if image_shape[0] % 4 or image_shape[1] % 4:
            raise UserError(f"images are {image_shape[0]} x {image_shape[1]}: flow_gmm takes heights and widths of 4 n")
        return Flow(classes, self.width, self.couplings, self.spread)

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        key_x, key_one, key_other, key_noise = jax.random.split(key, 4)
        count, others = len(batch["x"]), len(batch["x_u"])
        views = (batch["x"], key_x), (batch["x_u"], key_one), (batch["x_u"], key_other)
        logits, z = learner.network(jnp.concatenate([learner.weak(x, k) for x, k in views]), key=key_noise)
        of_x, of_one, of_other = jnp.split(logits, (count, count + others))
        ce = cross_entropy(of_x, batch["y"])
        nll = -jax.nn.logsumexp(jnp.concatenate([of_x, of_one]), axis=-1).mean()
        same = -jnp.take_along_axis(of_one, of_other.argmax(-1)[:, None], axis=1).mean()
        loss = self.label_weight * ce + nll + self.weight * linear(learner.progress, self.warm_up) * same
        bits = nll / (z.shape[1] * jnp.log(2.0))
        return loss, {"ce": ce, "bits": bits, "consistency": same}, memory
