"""Mean Teacher (Tarvainen and Valpola 2017): the predictions of the averaged weights are the targets."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from scoressl_jax.losses.semi_supervised import cross_entropy, squared_difference
from scoressl_jax.methods.learner import field, linear, logits_of


@dataclass(frozen=True, kw_only=True)
class MeanTeacher:
    """The student sees strongly augmented images, the teacher weakly augmented ones; the paper augments both weakly."""

    weight: float = field(30.0, "of the mean squared difference of probabilities")
    warm_up: float = field(0.2, "share of training over which the weight rises linearly", most=1)
    strong: bool = field(True, "the student's images, labelled ones too, are strongly augmented; False: weakly")
    PAPER: ClassVar = {
        "unlabeled_batch_size": 64,
        "mean_teacher.weight": 50.0,
        "mean_teacher.warm_up": 0.4,
        "mean_teacher.strong": False,
    }

    def start(self, sizes):
        return ()

    def loss(self, learner, batch, key, memory):
        key_x, key_student, key_teacher = jax.random.split(key, 3)
        augment = learner.strong if self.strong else learner.weak
        logits = logits_of(learner.network, x=augment(batch["x"], key_x), u=augment(batch["x_u"], key_student))
        targets = jax.nn.softmax(learner.average(learner.weak(batch["x_u"], key_teacher))[0])
        ce, same = cross_entropy(logits["x"], batch["y"]), squared_difference(logits["u"], targets)
        loss = ce + self.weight * linear(learner.progress, self.warm_up) * same
        return loss, {"ce": ce, "consistency": same, "confidence": targets.max(-1).mean()}, memory
