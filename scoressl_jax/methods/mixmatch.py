"""MixMatch (Berthelot et al. 2019a): guessed labels, sharpened, and everything mixed with everything."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from scoressl_jax.losses.semi_supervised import mixup, sharpen, soft_cross_entropy, squared_difference
from scoressl_jax.methods.learner import field, linear, logits_of


@dataclass(frozen=True, kw_only=True)
class MixMatch:
    """The paper's algorithm 1 with K = 2 augmented copies."""

    temperature: float = field(0.5, "T, of sharpening; 1: none", least=1e-3)
    mixing: float = field(0.75, "alpha of mixup's Beta distribution", least=1e-3)
    weight: float = field(75.0, "lambda_U, of the mean squared difference of probabilities")
    warm_up: float = field(0.4, "share of training over which the weight rises linearly", most=1)
    PAPER: ClassVar = {  # Adam with a constant rate and decay of its own; the decay is .02 of the rate
        "unlabeled_batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.02,
        "schedule": "constant",
        "mixmatch.warm_up": 0.016,
    }

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        key_x, key_one, key_other, key_mix = jax.random.split(key, 4)
        x = learner.weak(batch["x"], key_x)
        copies = [learner.weak(batch["x_u"], k) for k in (key_one, key_other)]
        guesses = logits_of(learner.network, one=copies[0], other=copies[1])
        q = self.guessed(guesses["one"], guesses["other"])
        p = jax.nn.one_hot(batch["y"], q.shape[-1])
        images, targets = jnp.concatenate([x, *copies]), jnp.concatenate([p, q, q])
        images, targets = mixup(images, targets, key_mix, self.mixing, per_image=True, nearer=True)
        logits, count = learner.network(images)[0], len(x)
        ce = soft_cross_entropy(logits[:count], targets[:count])
        same = squared_difference(logits[count:], targets[count:])
        loss = ce + self.weight * linear(learner.progress, self.warm_up) * same
        return loss, {"ce": ce, "consistency": same, "confidence": q.max(-1).mean()}, memory

    def guessed(self, one, other):
        """The mean of two copies' predictions, sharpened; no gradient flows through it (eq. 6, 7)."""
        return jax.lax.stop_gradient(sharpen((jax.nn.softmax(one) + jax.nn.softmax(other)) / 2, self.temperature))
