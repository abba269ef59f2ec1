"""The pictures of report.html that say how far the classifier can be trusted: by noise, by class, by its confidence."""

import numpy as np

from scoressl_jax.report import charts
from scoressl_jax.report.html import paragraph, share

TRUSTED_UP_TO = 0.1  # expected calibration error


def noise(run):
    rows = [row for row in run.result("classifier", "accuracy_by_noise") or () if row.get("sigma", 0) > 0]
    if not rows:
        return ""
    names = ("sigma", "accuracy", "guidance_norm", "accuracy_standard_error")
    sigma, accuracy, norms, errors = np.array([[row.get(name, np.nan) for name in names] for row in rows]).T
    whole = lambda values: values if np.isfinite(values).all() else None  # noqa: E731
    classes = run.data.get("num_classes")
    png = charts.accuracy_by_noise(sigma, accuracy, whole(norms), classes, whole(errors))
    caption = (
        "How much noise the classifier sees through: accuracy should stay high far to the right, and falls to "
        "guessing where nothing of the image is left. Sigma is the noise's standard deviation, where pixels are 0 to 1."
    )
    return run.picture("accuracy_by_noise", png, caption)


def confusion(run):
    counts = run.evaluation.get("confusion")
    if counts is None:
        return ""
    png = charts.confusion_matrix(counts, run.names(len(counts)))
    return run.picture("confusion", png, "Test images by true and predicted class: off the diagonal lie the mistakes.")


def reliability(run):
    parts = [run.evaluation.get(f"reliability_{name}") for name in ("confidence", "accuracy", "count")]
    if any(part is None for part in parts):
        return ""
    confidence, accuracy, count = np.nan_to_num(np.asarray(parts, float))
    png = charts.reliability_diagram(confidence, accuracy, count)
    ece = (count * np.abs(confidence - accuracy)).sum() / max(count.sum(), 1)
    caption = f"Expected calibration error {ece:.3f}: below the diagonal the classifier is surer than it should be."
    advice = untrustworthy(ece, *(np.average(part, weights=count) for part in (confidence, accuracy)))
    return run.picture("reliability", png, caption) + (paragraph(advice) if ece > TRUSTED_UP_TO else "")


def untrustworthy(ece, says, right):
    """What a large calibration error means, and what can be done; says and right: mean confidence and accuracy."""
    text = f"Do not take its probabilities as they are: they are {100 * ece:.0f} points off on the mean. "
    text += f"It is {share(says)} sure on the mean, and right in {share(right)} of test images: "
    if abs(says - right) < ece / 2:
        text += "too sure of some images and not sure enough of others. More labels or more steps may help"
    elif says > right:
        text += "too sure. More labels help, and so can fewer classifier steps"
    else:
        text += "less sure than it could be, which short training often is. More classifier steps help"
    return (
        f"{text}; so does raising them to one power 1/T and normalising, with T fitted on labelled images that it was "
        "not trained on (temperature scaling, which is left to you). Which class is the most probable stays the same."
    )
