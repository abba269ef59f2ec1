"""The classifier's objective: a plain sum of weighted terms, each logged under its name.

`weights` names the terms; a term without a weight, or with weight 0, is not computed:

    ce         cross-entropy of labelled images at a random t                (both papers)
    ce_tau     the same at the small time tau                                (denoising-assisted paper, eq. 7)
    dlsm       denoising likelihood score matching on labelled images        (Score-SSL, L_Total)
    pseudo     cross-entropy at t of unlabelled images with confident pseudo-labels, taken at tau   (eq. 8)
    pseudo_dlsm  DLSM of the same images with the same labels and mask       (Score-SSL, L_Total on x_U)
    denoising  consistency of features at x_t and at its denoised image      (Score-SSL)
    temporal   consistency of features at t and at t + delta(t)              (both)
    prior      class prior against the average prediction at tau             (both, positive-unlabelled data)
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from scoressl_jax.guidance import denoise
from scoressl_jax.losses.positive_unlabeled import prior_cross_entropy
from scoressl_jax.losses.score_matching import denoising_likelihood_score_matching, likelihood_score, sample_times
from scoressl_jax.losses.semi_supervised import consistency, cross_entropy, pseudo_labels

UNLABELED_TERMS = ("pseudo", "pseudo_dlsm", "denoising", "temporal", "prior")


@dataclass(frozen=True)
class Objective:
    """Everything the objective needs besides callables and arrays."""

    sde: object
    weights: dict = field(hash=False)
    times: str = "stratified"
    tau: float = 0.01
    threshold: float = 0.95
    dlsm_power: float = 1.0
    temporal_delta: float = 0.1  # Delta: largest growth of std between t and t + delta(t)
    temporal_time: str = "shifted"  # time told to the classifier for the second view: shifted (t + delta), same (t)
    temporal_noise: str = "shared"  # z of the second view: shared with the first, or fresh
    prior: tuple | None = None  # p(class) of the unlabelled images

    def wants(self, *terms):
        return any(self.weights.get(term, 0) for term in terms)

    def __call__(self, classifier_fn, score_fn, batch, key):
        """Loss and logs of one batch: `x`, `y` labelled; with unlabelled terms `x_u`, and `y_u` for logs alone."""
        key_l, key_u = jax.random.split(key)
        terms, logs = self._labeled(classifier_fn, score_fn, batch["x"], batch["y"], key_l)
        if self.wants(*UNLABELED_TERMS):
            more, logs_u = self._unlabeled(classifier_fn, score_fn, batch["x_u"], batch["y_u"], key_u)
            terms, logs = terms | more, logs | logs_u
        loss = sum(self.weights[name] * term for name, term in terms.items())
        return loss, terms | logs

    def _noise(self, x, key):
        key_t, key_z = jax.random.split(key)
        return sample_times(key_t, x.shape[0], self.times), jax.random.normal(key_z, x.shape)

    def _at_tau(self, x, key):
        tau = jnp.full(x.shape[0], self.tau)
        return self.sde.perturb(x, tau, jax.random.normal(key, x.shape)), tau

    def _dlsm(self, g, score_fn, x_t, t, z):
        score = jax.lax.stop_gradient(score_fn(x_t, t))
        return denoising_likelihood_score_matching(g, score, self.sde, t, z, self.dlsm_power)

    def _labeled(self, classifier_fn, score_fn, x, y, key):
        key_t, key_tau = jax.random.split(key)
        terms, logs = {}, {}
        t, z = self._noise(x, key_t)
        x_t = self.sde.perturb(x, t, z)
        if self.wants("dlsm"):
            logits, _, g = likelihood_score(classifier_fn, x_t, t, y)
            terms["dlsm"] = self._dlsm(g, score_fn, x_t, t, z).mean()
        else:
            logits, _ = classifier_fn(x_t, t)
        terms["ce"] = cross_entropy(logits, y)
        logs["accuracy"] = (logits.argmax(-1) == y).mean()
        if self.wants("ce_tau"):
            logits, _ = classifier_fn(*self._at_tau(x, key_tau))
            terms["ce_tau"] = cross_entropy(logits, y)
            logs["accuracy_tau"] = (logits.argmax(-1) == y).mean()
        return {name: term for name, term in terms.items() if self.wants(name)}, logs

    def _unlabeled(self, classifier_fn, score_fn, x, y_hidden, key):
        key_t, key_tau, key_delta = jax.random.split(key, 3)
        terms, logs = {}, {}
        t, z = self._noise(x, key_t)
        x_t = self.sde.perturb(x, t, z)
        logits_tau, _ = classifier_fn(*self._at_tau(x, key_tau))
        y, mask = pseudo_labels(logits_tau, self.threshold)

        if self.wants("pseudo_dlsm"):
            logits, features, g = likelihood_score(classifier_fn, x_t, t, y)
            terms["pseudo_dlsm"] = (mask * self._dlsm(g, score_fn, x_t, t, z)).mean()
        else:
            logits, features = classifier_fn(x_t, t)
        if self.wants("pseudo", "pseudo_dlsm"):
            terms["pseudo"] = cross_entropy(logits, y, mask)
            known = mask * (y_hidden >= 0)
            logs["pseudo_rate"] = mask.mean()
            logs["pseudo_accuracy"] = (known * (y == y_hidden)).sum() / jnp.maximum(known.sum(), 1)
        if self.wants("denoising"):
            x_hat = jax.lax.stop_gradient(denoise(self.sde, score_fn, x_t, t))
            terms["denoising"] = consistency(features, classifier_fn(x_hat, t)[1])
        if self.wants("temporal"):
            terms["temporal"] = consistency(features, self._later_features(classifier_fn, x, t, z, key_delta))
        if self.wants("prior"):
            terms["prior"] = prior_cross_entropy(logits_tau, jnp.asarray(self.prior))
        return {name: term for name, term in terms.items() if self.wants(name)}, logs

    def _later_features(self, classifier_fn, x, t, z, key):
        later = self.sde.later_time(t, self.temporal_delta)
        z = z if self.temporal_noise == "shared" else jax.random.normal(key, x.shape)
        return classifier_fn(self.sde.perturb(x, later, z), later if self.temporal_time == "shifted" else t)[1]
