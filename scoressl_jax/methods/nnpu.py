"""nnPU (Kiryo, Niu, du Plessis and Sugiyama 2017, "Positive-Unlabeled Learning with Non-Negative Risk Estimator")."""

from dataclasses import dataclass
from typing import ClassVar

from scoressl_jax.losses.positive_unlabeled import nnpu_risk
from scoressl_jax.methods.learner import field
from scoressl_jax.methods.upu import COMPARED, UPU


@dataclass(frozen=True, kw_only=True)
class NNPU(UPU):
    """uPU, but where negatives cost less than -beta, steps of the size gamma go the other way."""

    beta: float = field(0.0, "how far below 0 the cost of negatives may fall")
    gamma: float = field(1.0, "of the steps back", most=1)
    PAPER: ClassVar = COMPARED | {"nnpu.strong": False}

    def risk(self, positive, unlabeled, prior):
        _, logs = super().risk(positive, unlabeled, prior)
        return nnpu_risk(positive, unlabeled, prior, self.kind, self.beta, self.gamma), logs
