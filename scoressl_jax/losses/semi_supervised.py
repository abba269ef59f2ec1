"""Terms of semi-supervised objectives, as functions of a classifier's outputs.

logits `[B, C]`, features `[B, F]`, labels int `[B]`, probabilities `[B, C]`, masks and weights `[B]`.
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


def soft_cross_entropy(logits, p, weights=None):
    """Mean over the whole batch of -weight sum_c p_c log q_c, q being the softmax of `logits`."""
    each = -(p * jax.nn.log_softmax(logits)).sum(-1)
    return (each if weights is None else weights * each).mean()


def squared_difference(logits, p, weights=None):
    """Mean over batch and classes of (softmax - p)^2: Brier's consistency of Pi-model, Mean Teacher and MixMatch."""
    each = ((jax.nn.softmax(logits) - p) ** 2).mean(-1)
    return (each if weights is None else weights * each).mean()


def sharpen(p, temperature):
    """p^(1 / temperature), normalised again (Berthelot et al. 2019a, eq. 7)."""
    return jax.nn.softmax(jnp.log(p) / temperature)  # powers of small temperatures would all be 0


def mixup(x, p, key, alpha, per_image=False, nearer=False):
    """lambda x + (1 - lambda) x', and the same of p, x' being a permutation of the batch and lambda ~ Beta(alpha,
    alpha): one for the batch or one for each image. nearer: lambda is at least a half, so that each stays closer to
    itself than to its partner (Berthelot et al. 2019a, eq. 8 to 11). p: a tree of `[B, ...]`."""
    key_share, key_order = jax.random.split(key)
    share = jax.random.beta(key_share, alpha, alpha, (len(x) if per_image else 1,))
    share, order = jnp.maximum(share, 1 - share) if nearer else share, jax.random.permutation(key_order, len(x))

    def mixed(values):
        by = share.reshape(-1, *(1,) * (values.ndim - 1))
        return by * values + (1 - by) * values[order]

    return mixed(x), jax.tree.map(mixed, p)


def aligned(p, target, running):
    """p times target / running, normalised again: distribution alignment (Berthelot et al. 2019b, ReMixMatch, 3.1).
    target, running `[C]`: the share of each class that is expected, and that has been predicted of late."""
    moved = p * (target / jnp.maximum(running, 1e-6))
    return moved / moved.sum(-1, keepdims=True)


def adaptive_thresholds(confidence, mean):
    """`[C]` of FreeMatch's running averages (Wang et al. 2023, eq. 5 to 8): the confidence of all predictions, and the
    mean prediction `[C]`. Classes that are predicted less have lower thresholds."""
    return confidence * mean / mean.max()


def running(average, new, decay):
    """The exponential moving average after `new`."""
    return decay * average + (1 - decay) * new
