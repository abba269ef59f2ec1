"""Terms of the semi-supervised objective, as functions of a classifier's outputs.

logits `[B, C]`, features `[B, F]`, labels int `[B]`, masks `[B]` of 0 and 1.
"""

import jax
import jax.numpy as jnp


def cross_entropy(logits, labels, mask=None):
    """Mean over the whole batch of -mask log p(label): masked-out images count as zero loss (Sastry et al. eq. 8)."""
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]
    return -(log_p if mask is None else mask * log_p).mean()


def pseudo_labels(logits, threshold):
    """Labels and mask from predictions at time tau: the argmax where its probability is at least `threshold`.

    No gradient flows through either (FixMatch's choice; both papers follow it, eq. 8).
    """
    p = jax.nn.softmax(jax.lax.stop_gradient(logits))
    return p.argmax(-1), (p.max(-1) >= threshold).astype(logits.dtype)


def consistency(features, other):
    """Squared L2 distance of penultimate-layer representations, averaged over batch and features."""
    return ((features - other) ** 2).mean()
