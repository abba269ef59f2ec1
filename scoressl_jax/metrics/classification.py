"""How good a noise-conditional classifier is: accuracy by noise level, calibration, precision and recall.

`predict` is `(x_t [B, ...], t [B]) -> logits [B, C]`, compiled; images come as uint8 arrays on the host.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from scoressl_jax.devices import batched


def diffuse(sde, images, t, seed):
    """Test images `uint8 [N, ...]` diffused to times `t [N]` with noise that follows from the seed alone, float32."""
    z = np.asarray(jax.random.normal(jax.random.key(seed), images.shape))
    return np.asarray(sde.perturb(jnp.asarray(images) / 255.0, jnp.asarray(t, jnp.float32), z))


def accuracy_all_noise(predict, sde, images, labels, *, batch, seed=0):
    """Accuracy with every image diffused to a uniform random time, which the seed fixes (Sastry et al. table 1)."""
    t = np.random.default_rng(seed).uniform(1e-5, 1.0, len(images)).astype(np.float32)
    logits = batched(predict, batch, diffuse(sde, images, t, seed), t)
    return float((logits.argmax(-1) == labels).mean())


def accuracy_by_noise(predict, gradient, sde, images, labels, *, times, batch, seed=0):
    """One row a time: {"t", "sigma", "accuracy", "guidance_norm"}.

    `gradient(x_t, t, labels)` is the input gradient of log p(label); guidance_norm is its mean norm times std, over the
    first batch of images, so 1 means as strong as one unit of noise.
    """
    rows = []
    for i, time in enumerate(times):
        t = np.full(len(images), time, np.float32)
        x_t = diffuse(sde, images, t, seed + i)
        logits = batched(predict, batch, x_t, t)
        std = float(sde.marginal(jnp.asarray([time]))[1][0])
        g = batched(gradient, batch, x_t[:batch], t[:batch], labels[:batch].astype(np.int32))
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
