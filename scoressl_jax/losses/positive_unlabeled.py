"""Learning from positive and unlabelled images: risks, weights, and the term that Score-SSL adds.

Scores are logits of "positive": of labelled positives `[P]`, of unlabelled images `[U]`. prior: pi, the share of
positives among the unlabelled.
"""

import jax
import jax.numpy as jnp

# A margin's loss: large where the score has the wrong sign.
MARGIN_LOSSES = {"sigmoid": lambda z: jax.nn.sigmoid(-z), "logistic": lambda z: jax.nn.softplus(-z)}


def prior_cross_entropy(logits, prior):
    """H(prior, mean prediction): cross-entropy between the class prior `[C]` and the average of softmax(logits) over
    the unlabelled batch `[B, C]` at time tau (both Score-SSL papers, "PU Learning"). It needs a large batch."""
    average = jax.nn.softmax(logits).mean(0)
    return -(prior * jnp.log(average + 1e-8)).sum()


def partial_risks(positive, unlabeled, prior, kind="sigmoid"):
    """(pi E_P l(f), E_U l(-f) - pi E_P l(-f)): what positives, and what negatives cost."""
    loss = MARGIN_LOSSES[kind]
    return prior * loss(positive).mean(), loss(-unlabeled).mean() - prior * loss(-positive).mean()


def upu_risk(positive, unlabeled, prior, kind="sigmoid"):
    """The unbiased risk (du Plessis et al. 2015), which can be negative."""
    return sum(partial_risks(positive, unlabeled, prior, kind))


def nnpu_risk(positive, unlabeled, prior, kind="sigmoid", beta=0.0, gamma=1.0):
    """The non-negative risk (Kiryo et al. 2017, algorithm 1): where negatives cost less than -beta, their cost
    counts as -beta and the gradient is that of -gamma times their cost alone, which undoes the overfitting."""
    of_positives, of_negatives = partial_risks(positive, unlabeled, prior, kind)
    too_low = of_negatives < -beta
    value = of_positives + jnp.where(too_low, -beta, of_negatives)
    descended = jnp.where(too_low, -gamma * of_negatives, of_positives + of_negatives)
    return descended + jax.lax.stop_gradient(value - descended)


def punce(one, other, labeled, prior, temperature=0.5, form="paper"):
    """puNCE (Acharya et al. 2022): contrastive loss of two views' embeddings `[B, F]`, labeled `[B]`: of a positive.

    Each view of an image picks, among all other views, by the softmax of cosine similarities / temperature: one of a
    labelled positive the views of any labelled positive; an unlabelled one with weight pi these or its own second view,
    and with 1 - pi the latter alone. form "code": (own view + pi labelled positives) / (1 + pi), as was released.
    """
    z = jnp.concatenate([one, other])
    z = z / jnp.maximum(jnp.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    itself = jnp.eye(len(z), dtype=bool)
    log_p = jax.nn.log_softmax(jnp.where(itself, -1e9, z @ z.T / temperature))
    own, labeled = jnp.roll(itself, len(one), axis=1), jnp.tile(jnp.asarray(labeled, bool), 2)
    positives = labeled[None] & ~itself
    if form == "paper":
        unlabeled = prior * _even(positives | own) + (1 - prior) * own
    else:
        unlabeled = (own + prior * _even(positives)) / (1 + prior)
    wanted = jnp.where(labeled[:, None], _even(positives), unlabeled)
    return -jnp.where(itself, 0, wanted * log_p).sum(1).mean()


def _even(mask):
    """Rows of a mask as equal weights that add up to 1, or 0 where there are none."""
    return mask / jnp.maximum(mask.sum(1, keepdims=True), 1)


def label_frequency(g):
    """c = P(labelled | positive): the mean of g = P(labelled | x) over held-out labelled positives (Elkan and Noto
    2008, e1). Right if no positive looks like a negative, and where labels were given to a part of ONE set of images:
    with a set of positives of its own, count both sets as the one."""
    return jnp.mean(g)


def elkan_noto(g, c):
    """P(positive | x) = g / c, at most 1, of a classifier's g = P(labelled | x) (Elkan and Noto 2008, lemma 1)."""
    return jnp.clip(g / c, 0, 1)


def elkan_noto_weights(g, c):
    """P(positive | x, unlabelled) = (1 - c) / c g / (1 - g), in [0, 1] (Elkan and Noto 2008): an unlabelled image
    counts as positive with this weight and as negative with the rest."""
    return jnp.clip((1 - c) / c * g / jnp.maximum(1 - g, 1e-12), 0, 1)
