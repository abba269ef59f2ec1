"""How good a noise-conditional classifier is: accuracy by noise level, calibration, precision and recall.

`predict` is `(x_t [B, ...], t [B]) -> logits [B, C]`, compiled; images come as uint8 arrays on the host.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from scoressl_jax.devices import batched


def noise(seed, indices, shape):
    """`jax.random.normal(jax.random.key(seed), (N, *shape))[indices]`, float32, for any N: no other image's is drawn.

    JAX numbers the entries of an array and draws each from its number alone, 64 bits in two halves.
    """
    size = np.prod(shape, dtype=np.uint64)
    at = np.asarray(indices, np.uint64)[:, None] * size + np.arange(size, dtype=np.uint64)
    numbers = np.concatenate([(at >> np.uint64(32)).ravel(), at.ravel() & np.uint64(2**32 - 1)]).astype(np.uint32)
    key = jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
    return np.asarray(_normal(key, numbers)).reshape(-1, *shape)


@jax.jit
def _normal(key, numbers):
    """JAX's normal draws of the entries with these numbers, upper halves first."""
    high, low = jnp.split(threefry_2x32(key, numbers), 2)
    uniform = jax.lax.bitcast_convert_type((high ^ low) >> 9 | jnp.uint32(0x3F800000), jnp.float32) - 1
    least = np.nextafter(np.float32(-1), np.float32(0))  # of (-1, 1)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(jnp.maximum(least, uniform * (np.float32(1) - least) + least))


def diffuse(sde, images, t, seed, indices=None):
    """Test images `uint8 [n, ...]` diffused to times `t [n]`, float32. Their noise follows from the seed and, where
    they are part of a set, from their `indices [n]` in it, whatever the rest of the set."""
    z = noise(seed, range(len(images)) if indices is None else indices, images.shape[1:])
    return np.asarray(sde.perturb(jnp.asarray(images) / 255.0, jnp.asarray(t, jnp.float32), z))


def noisy_logits(predict, sde, images, t, seed, batch):
    """Logits `[N, C]` of images diffused to times `t [N]`, of which no more than a batch is held at a time."""
    of_batch = lambda images, t, indices: predict(diffuse(sde, images, t, seed, indices), t)  # noqa: E731
    return batched(of_batch, batch, images, t, np.arange(len(images)))


def accuracy_all_noise(predict, sde, images, labels, *, batch, seed=0):
    """Accuracy with every image diffused to a uniform random time, which the seed fixes (Sastry et al. table 1)."""
    t = np.random.default_rng(seed).uniform(1e-5, 1.0, len(images)).astype(np.float32)
    logits = noisy_logits(predict, sde, images, t, seed, batch)
    return float((logits.argmax(-1) == labels).mean())


def accuracy_by_noise(predict, gradient, sde, images, labels, *, times, batch, seed=0):
    """One row a time: {"t", "sigma", "accuracy", "guidance_norm"}.

    `gradient(x_t, t, labels)` is the input gradient of log p(label); guidance_norm is its mean norm times std, over the
    first batch of images, so 1 means as strong as one unit of noise.
    """
    rows = []
    for i, time in enumerate(times):
        t = np.full(len(images), time, np.float32)
        logits = noisy_logits(predict, sde, images, t, seed + i, batch)
        std = float(sde.marginal(jnp.asarray([time]))[1][0])
        first = diffuse(sde, images[:batch], t[:batch], seed + i)
        g = batched(gradient, batch, first, t[:batch], labels[:batch].astype(np.int32))
        norm = np.linalg.norm(g.reshape(len(g), -1), axis=-1).mean() * std
        rows.append(
            {
                "t": float(time),
                "sigma": std,
                "accuracy": float((logits.argmax(-1) == labels).mean()),
                "guidance_norm": float(norm),
            }
        )
    return rows


def standard_error(share, count):
    """Of a share of `count` independent images, in 0..1: binomial, sqrt(p (1 - p) / n)."""
    return float(np.sqrt(share * (1 - share) / count))


def accuracy_area(rows):
    """Mean accuracy over times t, uniform between the first and the last of two or more `rows` of accuracy_by_noise:
    the area under the curve by the trapezoid rule, in 0..1."""
    t, accuracy = np.array([(row["t"], row["accuracy"]) for row in rows]).T
    return float(np.trapezoid(accuracy, t) / (t[-1] - t[0]))


def calibration(probabilities, labels, bins=15):
    """Expected calibration error (Guo et al. 2017) and the reliability diagram: (ece, confidence, accuracy, count)."""
    confidence, correct = probabilities.max(-1), probabilities.argmax(-1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    safe = np.maximum(count, 1)
    mean_confidence = np.bincount(which, weights=confidence, minlength=bins) / safe
    mean_accuracy = np.bincount(which, weights=correct, minlength=bins) / safe
    ece = float((count * np.abs(mean_confidence - mean_accuracy)).sum() / len(labels))
    return ece, mean_confidence, mean_accuracy, count


def class_table(predictions, labels, class_names):
    """Confusion matrix (rows are true classes) and one row a class: precision, recall, F1, count."""
    classes = list(range(len(class_names)))
    columns = precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0)
    rows = [
        {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "count": int(n)}
        for name, p, r, f, n in zip(class_names, *columns, strict=True)
    ]
    return confusion_matrix(labels, predictions, labels=classes), rows
