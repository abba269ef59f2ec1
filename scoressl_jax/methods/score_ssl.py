"""The classifier's objective: a plain sum of weighted terms, each logged under its name.

`weights` names the terms; a term without a weight, or with weight 0, is not computed (but ce, which is logged always):

    ce         cross-entropy of labelled images at a random t                (both papers)
    ce_tau     the same at the small time tau                                (denoising-assisted paper, eq. 7)
    dlsm       denoising likelihood score matching on labelled images        (Score-SSL, L_Total)
    pseudo     cross-entropy at t of unlabelled images with confident pseudo-labels, taken at tau   (eq. 8)
    pseudo_dlsm  DLSM of the same images with the same labels and mask       (Score-SSL, L_Total on x_U)
    denoising  consistency of features at x_t and at its denoised image      (Score-SSL)
    temporal   consistency of features at t and at t + delta(t)              (both)
    prior      class prior against the average prediction at tau             (both, positive-unlabelled data)
    taught     cross-entropy at t of unlabelled images with a teacher's probabilities
    taught_tau the same at tau

Where there is a teacher, the labels of pseudo and pseudo_dlsm are its most probable ones, all of them.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.guidance import denoised
from scoressl_jax.losses.positive_unlabeled import prior_cross_entropy
from scoressl_jax.losses.score_matching import denoising_likelihood_score_matching, likelihood_score, sample_times
from scoressl_jax.losses.semi_supervised import (
    consistency,
    cross_entropy,
    pseudo_labels,
    soft_cross_entropy,
)
from scoressl_jax.sde import expand

TAUGHT_TERMS = ("taught", "taught_tau")
UNLABELED_TERMS = ("pseudo", "pseudo_dlsm", "denoising", "temporal", "prior", *TAUGHT_TERMS)


@dataclass(frozen=True, kw_only=True)
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
    focus: tuple = ()  # as in sample_times

    def wants(self, *terms):
        return any(self.weights.get(term, 0) for term in terms)

    def __call__(self, classifier_fn, score_fn, batch, key, classifier_at_tau=None):
        """Loss and logs of one batch: `x`, `y` labelled; with unlabelled terms `x_u`, and `y_u` for logs alone; where
        there is a teacher, `taught [U, C]`, its probabilities for x_u.

        Every view of every image goes through the classifier in one batch, and those that DLSM compares in a second;
        those at tau in one of their own where `classifier_at_tau`, a cheaper form of the same classifier, is given.
        """
        key_l, key_u = jax.random.split(key)
        views, noises = self._labeled_views(batch["x"], key_l)
        if self.wants(*UNLABELED_TERMS):
            more, noises["u_t"] = self._unlabeled_views(batch["x_u"], key_u, "taught" in batch)
            views |= more
        compared = [name for name in ("l_t", "u_t") if name in views]
        scores = {}
        if self.wants("dlsm", "pseudo_dlsm", "denoising"):
            scores = over_views(score_fn, {name: views[name] for name in compared})
            scores = jax.lax.stop_gradient(scores)
        if self.wants("denoising"):
            x_t, t = views["u_t"]
            views["u_hat"] = (denoised(x_t, scores["u_t"], expand(self.sde.marginal(t)[1], x_t)), t)

        with_grad = [n for n, term in (("l_t", "dlsm"), ("u_t", "pseudo_dlsm")) if self.wants(term)]
        at_tau = [n for n in views if n.endswith("_tau")] if classifier_at_tau else []
        outputs = over_views(classifier_fn, {n: v for n, v in views.items() if n not in (*with_grad, *at_tau)})
        outputs |= over_views(classifier_at_tau, {n: views[n] for n in at_tau})
        labels, mask = {"l_t": batch["y"]}, None
        if "taught" in batch:
            labels["u_t"], mask = batch["taught"].argmax(-1), jnp.ones(len(batch["x_u"]))
        elif "u_tau" in outputs:
            labels["u_t"], mask = pseudo_labels(outputs["u_tau"][0], self.threshold)
        grads = {}
        if with_grad:
            more = likelihood_views(classifier_fn, {n: (*views[n], labels[n]) for n in with_grad})
            outputs |= {name: output[:2] for name, output in more.items()}
            grads = {name: output[2] for name, output in more.items()}

        dlsm = {n: self._dlsm(grads[n], scores[n], views[n][1], noises[n]) for n in grads}
        terms = self._terms(outputs, labels, mask, dlsm) | self._taught(outputs, batch)
        logs = self._logs(outputs, labels, mask, batch)
        loss = sum(self.weights[name] * term for name, term in terms.items() if self.wants(name))
        return loss, {name: term for name, term in terms.items() if self.wants(name) or name == "ce"} | logs

    def _noise(self, x, key):
        key_t, key_z = jax.random.split(key)
        return sample_times(key_t, x.shape[0], self.times, self.focus), jax.random.normal(key_z, x.shape)

    def _at_tau(self, x, key):
        tau = jnp.full(x.shape[0], self.tau)
        return self.sde.perturb(x, tau, jax.random.normal(key, x.shape)), tau

    def _labeled_views(self, x, key):
        """`{"l_t": (x_t, t), "l_tau": ...}` and the noise of x_t."""
        key_t, key_tau = jax.random.split(key)
        t, z = self._noise(x, key_t)
        views = {"l_t": (self.sde.perturb(x, t, z), t)}
        if self.wants("ce_tau"):
            views["l_tau"] = self._at_tau(x, key_tau)
        return views, {"l_t": z}

    def _unlabeled_views(self, x, key, taught):
        """`{"u_t": (x_t, t), "u_tau": ..., "u_later": ...}` and the noise of x_t."""
        key_t, key_tau, key_delta = jax.random.split(key, 3)
        t, z = self._noise(x, key_t)
        views = {"u_t": (self.sde.perturb(x, t, z), t)}
        if self.wants("prior", "taught_tau") or (self.wants("pseudo", "pseudo_dlsm") and not taught):
            views["u_tau"] = self._at_tau(x, key_tau)
        if self.wants("temporal"):
            later = self.sde.later_time(t, self.temporal_delta)
            z_later = z if self.temporal_noise == "shared" else jax.random.normal(key_delta, x.shape)
            told = later if self.temporal_time == "shifted" else t
            views["u_later"] = (self.sde.perturb(x, later, z_later), told)
        return views, z

    def _dlsm(self, g, score, t, z):
        return denoising_likelihood_score_matching(g, score, self.sde, t, z, power=self.dlsm_power)

    def _terms(self, outputs, labels, mask, dlsm):
        """Every term that the outputs allow; the caller keeps those that have a weight."""
        logits = {name: output[0] for name, output in outputs.items()}
        features = {name: output[1] for name, output in outputs.items()}
        terms = {"ce": cross_entropy(logits["l_t"], labels["l_t"])}
        if "l_tau" in outputs:
            terms["ce_tau"] = cross_entropy(logits["l_tau"], labels["l_t"])
        if "l_t" in dlsm:
            terms["dlsm"] = dlsm["l_t"].mean()
        if mask is not None:
            terms["pseudo"] = cross_entropy(logits["u_t"], labels["u_t"], mask)
            if self.wants("prior"):
                terms["prior"] = prior_cross_entropy(logits["u_tau"], jnp.asarray(self.prior))
        if "u_t" in dlsm:
            terms["pseudo_dlsm"] = (mask * dlsm["u_t"]).mean()
        if "u_hat" in outputs:
            terms["denoising"] = consistency(features["u_t"], features["u_hat"])
        if "u_later" in outputs:
            terms["temporal"] = consistency(features["u_t"], features["u_later"])
        return terms

    def _taught(self, outputs, batch):
        at = {"taught": "u_t", "taught_tau": "u_tau"}
        return {
            term: soft_cross_entropy(outputs[view][0], batch["taught"]) for term, view in at.items() if self.wants(term)
        }

    def _logs(self, outputs, labels, mask, batch):
        logs = {"accuracy": (outputs["l_t"][0].argmax(-1) == batch["y"]).mean()}
        if "l_tau" in outputs:
            logs["accuracy_tau"] = (outputs["l_tau"][0].argmax(-1) == batch["y"]).mean()
        if self.wants("pseudo", "pseudo_dlsm"):
            logs["pseudo_rate"] = mask.mean()  # both of all images: a quotient could not be averaged over steps
            logs["pseudo_right"] = (mask * (labels["u_t"] == batch["y_u"])).mean()
        return logs


def over_views(fn, views):
    """`fn` on all views `{name: arrays [B, ...]}` as one batch, its outputs split again by name.

    One batch is one copy of the network in the compiled step, so it compiles and runs faster than a call a view.
    """
    if not views:
        return {}
    sizes = [len(arrays[0]) for arrays in views.values()]
    ends = np.cumsum(sizes)[:-1]
    outputs = fn(*(jnp.concatenate(parts) for parts in zip(*views.values(), strict=True)))
    leaves, tree = jax.tree.flatten(outputs)
    split = zip(*(jnp.split(leaf, ends) for leaf in leaves), strict=True)
    return {name: jax.tree.unflatten(tree, parts) for name, parts in zip(views, split, strict=True)}


def likelihood_views(classifier_fn, views):
    """`{name: (logits, features, g)}` of views `{name: (x_t, t, labels)}`."""
    return over_views(lambda x_t, t, y: likelihood_score(classifier_fn, x_t, t, y), views)
