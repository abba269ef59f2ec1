"""report.html: what a run did, on one page that holds everything, made from the files of the run alone.

What the run has not measured is left out and said so; no data set and no network is needed to make the page or read it.
"""

import json
from html import escape
from pathlib import Path

from scoressl_jax.files import flat
from scoressl_jax.report.classifier import confusion, noise, reliability
from scoressl_jax.report.generation import generation, in_a_line, judge_is_missing
from scoressl_jax.report.html import (
    NOT_MEASURED,
    beside,
    command,
    details,
    number,
    page,
    paragraph,
    section,
    share,
    side_by_side,
    table,
)
from scoressl_jax.report.results import error, measured, results, speaker, with_error
from scoressl_jax.report.samples import gradients, labelled, samples
from scoressl_jax.report.snapshot import Snapshot
from scoressl_jax.report.times import machines, timed, times
from scoressl_jax.report.training import training


def write_report(opened) -> Path:
    """Write figures/*.png, samples/grid.png and report.html of an opened run; returns the page's path."""
    run = Snapshot(opened)
    body = "\n".join(
        [
            headline(run),
            section("question", "The question", paragraph(question(run))),
            section("data", "The data and its labels", data_and_labels(run)),
            section("results", "Results", results(run)),
            side_by_side(
                [
                    section("noise", "Accuracy by noise level", noise(run)),
                    section("confusion", "Which classes are confused", confusion(run)),
                    section("reliability", "Can its confidence be trusted", reliability(run)),
                ]
            ),
            section("samples", "Samples", samples(run)),
            section("generation", "How good are the samples", generation(run)),
            section("gradients", "What guides the sampling", gradients(run)),
            section("training", "Training", training(run)),
            section("times", "Time and machine", times(run)),
            section("settings", "Settings", settings(run)),
            section("command", "How to repeat it", run.command and command(run.command)),
        ]
    )
    return run.write("report.html", page(f"{run.data_name}: report", body))


def headline(run):
    taught = measured(run, "teacher", "accuracy")
    told = "by the classifier, which learned from the teacher" if taught else "of test images recognised"
    answers = (
        ("teacher", "accuracy", share, f"of test images recognised: {speaker(run)}"),
        ("classifier", "f1", number, "F1 score of the positive class: 1 is perfect"),
        ("classifier", "accuracy", share, told),
        ("classifier", "accuracy_all_noise", share, "recognised when noise of any level is added"),
        ("samples", "class_agreement", share, f"of samples show the class asked for, says {the_judge(run)}"),
    )
    found = [(form(run.result(*key)), error(run, *key), text) for *key, form, text in answers if measured(run, *key)]
    best = share(run.result("teacher" if taught else "classifier", "accuracy"))
    title = f"{run.data_name}: {f'{best} accuracy' if best else f'{run.regime} run'} from {run.budget}"
    tile = '<div class="tile"><b>{}<small>{}</small></b><span>{}</span></div>'
    boxes = [tile.format(*map(escape, (value, spread, text))) for value, spread, text in found]
    body = side_by_side(boxes, "tiles") if boxes else NOT_MEASURED
    body += "".join(paragraph(line, "soft") for line in machines(run))
    return f'<header id="headline"><h1>{escape(title)}</h1>\n{body}\n</header>'


def the_judge(run):
    """What says whether samples show their class, and how far it can be believed."""
    accuracy = share(run.result("samples", "judge_accuracy"))
    return "an independent judge" + (f", itself right about {accuracy} of test images" if accuracy else "")


def question(run):
    kind = run.config.get("classifier", {}).get("kind", "").replace("_", "-")
    score, guided = run.config.get("score", {}), run.config.get("sampling", {}).get("scale", 1)
    teachers = {
        "ssl": f"{run.budget} and the unlabelled images",
        "pu": f"{run.budget} and the unlabelled images, without a single labelled negative",
    }.get(run.config.get("regime"), f"{run.budget} alone")
    learnt = f"was trained on all training images of {run.data_name} without their labels"
    if score.get("init_from") and not score.get("warm_start"):
        learnt = f"was taken from {score['init_from']} as it is"
    who, above = "the classifier", ""
    if run.config.get("teacher", {}).get("method", "none") != "none":
        who, above = "each of the two", f" A teacher learned from {teachers} to label the rest."
        teachers = "the same labels and the teacher's"
    drawn = "? Samples were drawn without its guidance."
    if guided:
        drawn = ", and do images drawn under its guidance show the class that was asked for?"
    return (
        f"A score network {learnt}, and a {kind} classifier on {teachers}.{above} How well does {who} recognise images "
        f"that it has never seen{drawn}"
    )


def data_and_labels(run):
    plan = run.config.get("data", {}) if run.config.get("regime") == "pu" else {}
    counts = table(
        ("Images", "Count"),
        [
            ("for training", run.data.get("num_train")),
            ("of these labelled", run.num_labeled),
            ("of these unlabelled", run.data.get("num_unlabeled") or run.labels.get("unlabeled_count")),
            ("for testing", run.data.get("num_test")),
            ("classes", run.data.get("num_classes")),
        ],
    ) + table(
        ("Positive-unlabelled data", "Value"),
        [
            ("classes that count as positive", listed(plan.get("positive_classes"))),
            ("share of positives among the unlabelled images", plan.get("class_prior") or None),
            ("the same, estimated", estimated_prior(run)),
        ],
    )
    pictures = labelled(run)
    return beside(counts, pictures) if counts and pictures else counts + pictures


def listed(values):
    return ", ".join(map(str, values)) if values else None


def estimated_prior(run):
    found = {name: run.result("class_prior", name) for name in ("estimate", "standard_error", "true")}
    if found["estimate"] is None:
        return None
    known = "" if found["true"] is None else f" (in truth {found['true']:.3f})"
    return f"{found['estimate']:.3f} ± {found['standard_error']:.3f}{known}"


def settings(run):
    rows = [(name, json.dumps(value)) for name, value in flat(run.config)]
    return details("All settings of this run", table(("Field of config", "Value"), rows))


def taught(run) -> str:
    """The teacher's accuracy and who it is, "" without one."""
    value = with_error(run, "teacher", "accuracy")
    return value and f"{value} of clean test images: {speaker(run)}"


def summary(opened) -> str:
    """The few lines that a run prints at its end: what it was, what came out, where the page is."""
    run = Snapshot(opened)
    judge = share(run.result("samples", "judge_accuracy")), run.result("samples", "class_agreement_judge")
    none = "none, as not every training image has a label" if judge_is_missing(run) else ""
    path = run.workdir / "report.html"
    lines = {
        "data": f"{run.data_name}, {run.regime} from {run.budget}",
        "teacher": taught(run),
        "accuracy": with_error(run, "classifier", "accuracy"),
        "all noise": with_error(run, "classifier", "accuracy_all_noise"),
        "F1": number(run.result("classifier", "f1")),
        "agreement": with_error(run, "samples", "class_agreement"),
        "judge": none or ": ".join(filter(None, judge)),
        "samples": in_a_line(run.results.get("generation", {})),
        "seconds": ", ".join(f"{stage} {block['seconds']:.0f}" for stage, block in timed(run)),
        "report": path if path.exists() else None,
    }
    return "\n".join(f"{name:<10}{value}" for name, value in lines.items() if value)
