"""The term that positive-unlabelled data adds."""

import jax
import jax.numpy as jnp


def prior_cross_entropy(logits, prior):
    """H(prior, mean prediction): cross-entropy between the class prior `[C]` and the average of softmax(logits) over
    the unlabelled batch `[B, C]` at time tau (both Score-SSL papers, "PU Learning"). It needs a large batch."""
    average = jax.nn.softmax(logits).mean(0)
    return -(prior * jnp.log(average + 1e-8)).sum()
