"""The part of report.html that shows how training went, from the rows of metrics.jsonl."""

import numpy as np

from scoressl_jax.report import charts
from scoressl_jax.report.html import details, side_by_side

LINES = "Faint: as logged; bold: its running mean."
# (stage, name of the picture, title, {logged name: label}, whether they are shares, caption)
FIRST = (
    ("score", "loss", "Score network: loss", {"loss": "loss"}, False,
     "How far the denoised images are from the clean ones. It should fall fast, then slowly."),
    ("teacher", "loss", "Teacher: loss", {"loss": "loss"}, False,
     "Of clean images, strongly changed: it need not come near 0."),
    ("classifier", "loss", "Classifier: loss", {"loss": "loss"}, False,
     "The sum of everything that the classifier learns by: a curve that still falls at its end asks for more steps."),
    ("classifier", "accuracy", "Classifier: accuracy in training",
     {"accuracy": "noisy", "accuracy_tau": "almost clean"}, True,
     "On the labelled training images themselves: where it is reached early, these are few, and it says nothing of new "
     "images."),
)  # fmt: skip
TERMS = {  # logged name: (title, caption)
    "ce": ("cross-entropy, any noise", "Of labelled images at random noise: never zero, for some are all noise."),
    "ce_tau": ("cross-entropy, almost clean", "Of almost clean labelled images: with few labels it falls to nearly 0."),
    "taught": ("cross-entropy with the teacher's labels", "Of unlabelled images at random noise: never zero."),
    "taught_tau": ("the same, almost clean", "Of almost clean unlabelled images: it falls to the teacher's doubts."),
    "dlsm": ("error as guidance", "Error of the classifier's gradient as guidance (denoising likelihood score "
             "matching): look for a fall."),
    "pseudo": ("loss of pseudo-labels", "Cross-entropy of unlabelled images with a confident guess for a label: a late "
               "rise can come of wrong guesses."),
    "pseudo_dlsm": ("error as guidance, pseudo-labels", "The error of the gradient for images with a confident guess "
                    "for a label: look for a fall."),
    "denoising": ("consistency under denoising", "Distance of the features of a noisy image and of its denoised "
                  "version: look for a fall."),
    "temporal": ("consistency over noise", "Distance of the features at two neighbouring noise levels: zero at once "
                 "would mean that all images look alike to it."),
    "prior": ("class shares", "Shares of the classes among unlabelled images, as given against as predicted: it "
              "should settle, not drift."),
}  # fmt: skip
NO_TERMS = {"stage", "step", "time", "loss", "accuracy", "accuracy_tau", "pseudo_rate", "pseudo_right"}
NO_TERMS |= {"grad_norm", "param_norm"}
STAGES = {"judge": "Judge of the samples", "cas": "Classifier trained on samples"}
GUESSES = "Share of unlabelled images with a confident guess for a label (pseudo-label)"


def curve(run, stage, name):
    """(steps, values) of a logged number, the last logged where a step was repeated; None with fewer than two."""
    found = {
        row["step"]: row[name]
        for row in run.metrics
        if row.get("stage") == stage and isinstance(row.get(name), int | float) and np.isfinite(row[name])
    }
    return np.array(sorted(found.items()), float).T if len(found) > 1 else None


def hidden_labels_are_known(run):
    """Whether each unlabelled image has a true label that training did not see; None of runs that do not say."""
    hidden, unlabeled = run.data.get("num_hidden"), run.data.get("num_unlabeled")
    return None if hidden is None else hidden == unlabeled


def guesses(run):
    """The panel of pseudo-labels: how many are right is drawn where that can be known."""
    names, known = {"pseudo_rate": "confident"}, hidden_labels_are_known(run)
    right = curve(run, "classifier", "pseudo_right")
    if known or (known is None and right is not None and right[1].any()):  # older runs logged 0 for not known
        names["pseudo_right"] = "and right"
        text = f"{GUESSES}, and with a right one: look for both high, close together."
    else:
        text = f"{GUESSES}. How many are right is not known, as the true labels are not."
    return "classifier", "pseudo-labels", "Classifier: share with pseudo-label", names, True, text


def terms(run):
    """What the classifier learns by, by the names under which it is logged: those that are known first."""
    logged = {name for row in run.metrics if row["stage"] == "classifier" for name in row}
    return [name for name in TERMS if name in logged] + sorted(logged - TERMS.keys() - NO_TERMS)


def panel(run, stage, name, title, names, is_share, text):
    """A picture as HTML, "" where nothing was logged."""
    series = {label: curve(run, stage, logged) for logged, label in names.items()}
    series = {label: values for label, values in series.items() if values is not None}
    if not series:
        return ""
    png = charts.training_curve(title, series, is_share)
    return run.picture(f"training_{stage}_{name}", png, f"{text} {LINES}")


def training(run):
    """Losses and accuracy; everything else that was logged is folded up."""
    first = [panel(run, *which) for which in FIRST]
    rest = [panel(run, *guesses(run))]
    for name in terms(run):
        title, text = TERMS.get(name, (name.replace("_", " "), "Another number of the classifier's training."))
        text = f"{text} Logged as {name}."
        rest.append(panel(run, "classifier", name, f"Classifier: {title}", {name: name}, False, text))
    for stage in dict.fromkeys(row["stage"] for row in run.metrics if row["stage"] not in ("score", "classifier")):
        title = f"{STAGES.get(stage, stage.replace('_', ' ').capitalize())}: loss"
        rest.append(panel(run, stage, "loss", title, {"loss": "loss"}, False, f"Loss of the stage {stage}."))
    rest = [part for part in rest if part]
    shown = [part for part in first if part]
    more = details("More about training", side_by_side(rest)) if rest else ""
    return (side_by_side(shown) if shown else "") + more
