"""The tables of report.html: every figure with its standard error and what it means, and the classes one by one."""

from scoressl_jax.report.generation import judge_is_missing
from scoressl_jax.report.html import number, paragraph, share, side_by_side, table


def measured(run, *key):
    return run.result(*key) is not None


def error(run, part, name):
    """The standard error of a share as text, "" where it is not known."""
    _, _, spread = share(0, run.result(part, f"{name}_standard_error")).partition(" % ")
    return spread and f" {spread}"


def with_error(run, part, name):
    return share(run.result(part, name), run.result(part, f"{name}_standard_error"))


def results(run):
    judge = run.result("samples", "class_agreement_judge") or "independent classifier"
    score = lambda part, name: number(run.result(part, name))  # noqa: E731
    measures = (
        ("teacher", "accuracy", with_error, "accuracy of the teacher",
         f"share of test images that {speaker(run)} names rightly, which answers when images are classified"),
        ("teacher", "unlabeled_accuracy", with_error, "labels of the unlabelled images",
         "share of unlabelled training images that it labels rightly, from which the classifier learns"),
        ("classifier", "accuracy", with_error, "accuracy of the classifier",
         "share of test images that the noise-conditional classifier names rightly, told that there is no noise"),
        ("classifier", "accuracy_all_noise", with_error, "accuracy over all noise",
         "the same of test images with noise, each of a level of its own, from none to nothing but noise"),
        ("classifier", "accuracy_area", with_error, "mean accuracy over noise levels",
         "the area under the curve below, each time t of the noise counting the same"),
        ("classifier", "f1", score, "F1", "of the positive class, precision and recall in one figure: 1 is perfect"),
        ("classifier", "precision", with_error, "precision", "share of images named positive that are"),
        ("classifier", "recall", with_error, "recall", "share of positive images that are named so"),
        ("classifier", "ece", score, "calibration error (ECE)",
         "how far its confidence is from its accuracy, on the mean: 0 is perfect, 0.05 is five points"),
        ("samples", "class_agreement", with_error, "class agreement of samples",
         f"share of samples that a judge names as the class asked for; the judge: {judge}"),
        ("samples", "judge_accuracy", with_error, "accuracy of the judge",
         "on test images: agreement above it says little of the samples"),
    )  # fmt: skip
    rows = [(name, form(run, *key) if form is with_error else form(*key), text)
            for *key, form, name, text in measures if measured(run, *key)]  # fmt: skip
    rows += [(name, value, text) for name, value, text in likelihood(run)]
    if judge_is_missing(run):
        rows.append(("class agreement of samples", "not known", "it takes a judge, and labels for one are missing"))
    found = table(("Measure", "Value", "What it is"), rows, "told")
    if any(name.endswith("_standard_error") for name in run.results.get("classifier", {})):
        found += paragraph(
            "± is one standard error, of the number of images that were measured on alone (binomial): other images of "
            "the same kind would mostly give a figure within twice as much. Training anew moves it too: compare runs "
            "with other seeds (scoressl compare).",
            "soft",
        )
    parts = (found, candidates(run), per_class(run))
    return side_by_side([f"<div>{part}</div>" for part in parts if part], "wide") if found else ""


def speaker(run):
    """Who labels clean images, in words; "the classifier" where there is no teacher."""
    return (run.result("teacher", "speaks") or "the classifier").replace("_", " ")


def candidates(run):
    """What the teacher was chosen among, "" where it was not."""
    found = run.result("teacher", "candidates") or {}
    rows = [(name.replace("_", " "), share(of["share"], of["error"])) for name, of in found.items()]
    text = f"Chosen: {speaker(run)}: {run.result('teacher', 'why')}.".replace("_", " ") if rows else ""
    return rows and table(("Candidate", "Labelled images right when left out"), rows) + paragraph(text, "soft")


def per_class(run):
    """Precision, recall and F1 of each class."""
    rows = run.result("classifier", "per_class") or ()
    rows = [
        (row["class"], share(row["recall"], binomial(row["recall"], row["count"])), share(row["precision"]),
         row["f1"], row["count"])
        for row in rows
    ]  # fmt: skip
    text = (
        "Of the classifier. Recognised: share of the test images of the class (recall); right: share of images named "
        "so (precision)."
    )
    found = table(("Class", "Recognised", "Right", "F1", "Test images"), rows, "numbers")
    return found and found + paragraph(text, "soft")


def binomial(part, count):
    return (part * (1 - part) / count) ** 0.5 if count else None


def likelihood(run):
    """(name, bits, what it is) rows."""
    text = (
        "bits that a lossless code by the score network would need for each number of a test image: 8 is no knowledge "
        "at all, fewer is better"
    )
    block = run.results.get("likelihood", {})
    names = [name for name in block if name.startswith("bits_per_dim@")]
    return [(f"bits per number, {name.partition('@')[2]} test images", block[name], text) for name in names]
