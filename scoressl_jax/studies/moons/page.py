"""report.html of the two-moons study, made from the files of the run alone."""

from html import escape

import numpy as np

from scoressl_jax.report import charts
from scoressl_jax.report.html import NOT_MEASURED, command, number, page, paragraph, section, side_by_side, table
from scoressl_jax.report.page import settings
from scoressl_jax.report.snapshot import Snapshot
from scoressl_jax.report.times import machines
from scoressl_jax.report.training import LINES, curve
from scoressl_jax.studies.moons import charts as pictures
from scoressl_jax.studies.moons.config import LOSSES

CLASSES = ("upper", "lower")
TITLES = {
    "base": "(a) base: CE",
    "scaling": "(b) scaled by alpha",
    "posterior_sm": "(c) posterior SM",
    "dlsm_ce": "(d) DLSM + CE",
    "oracle": "(e) oracle",
}
METHODS = {**TITLES, "dlsm": "DLSM alone"}
LOSS_NAMES = {"ce": "CE", "dlsm": "DLSM", "dlsm_ce": "DLSM + CE"}
# Chao et al. 2022, tables 1 and A3: D_P and D_L of the upper and of the lower class.
PAPER = {
    "base": ((0.198, 0.190), (0.197, 0.181)),
    "scaling": ((2.734, 2.730), (2.627, 2.618)),
    "posterior_sm": ((0.063, None), (0.060, None)),
    "dlsm_ce": ((0.066, 0.052), (0.064, 0.052)),
    "dlsm": ((0.066, 0.053), (0.065, 0.053)),
}


def write_report(opened):
    """Write figures/*.png and report.html of the opened run of a study; returns the page's path."""
    run, fields = Snapshot(opened), opened.arrays("score_fields")
    zero = zero_error(fields)
    body = "\n".join(
        [
            headline(run),
            section("question", "The question", question(run)),
            section("fields", "Posterior scores and samples", columns(run, fields)),
            section("errors", "Score errors", errors(run, zero)),
            section("samples", "Samples", samples(run)),
            section("curves", "Errors while training", error_curves(run, zero)),
            section("training", "Training", training(run)),
            section("settings", "Settings", settings(run)),
            section("command", "How to repeat it", run.command and command(run.command)),
        ]
    )
    return run.write("report.html", page("two moons: report", body))


def error(run, method, oracle, name, c):
    """D_P or D_L of class c, or None when it was not measured."""
    return run.result("score_error", method).get(str(c), {}).get(oracle, {}).get(name) if measured(run) else None


def measured(run):
    return bool(run.results.get("score_error"))


def mean_error(run, method, name):
    """Mean over both classes of an error against the exact oracle, None when not measured."""
    values = [error(run, method, "exact", name, c) for c in (0, 1)]
    return None if None in values else sum(values) / 2


def headline(run):
    tiles = [
        (mean_error(run, method, name), f"{text}, {METHODS[method]}")
        for name, text in (("D_P", "error of the posterior score"), ("D_L", "error of the likelihood score"))
        for method in ("base", "dlsm_ce")
    ]
    boxes = [f'<div class="tile"><b>{value:.3f}</b><span>{escape(t)}</span></div>' for value, t in tiles if value]
    body = side_by_side(boxes, "tiles") if boxes else NOT_MEASURED
    title = "Two moons: a classifier that guides, and one that only classifies"
    return f'<header id="headline"><h1>{title}</h1>\n{body}\n</header>'


def question(run):
    preset, sigma = escape(run.config.get("preset", "")), run.config["evaluation"]["sigma"]
    return (
        "<p>Guided sampling adds the gradient of a classifier to the score of all data (Bayes' rule). A classifier "
        "that predicts classes well need not have the right gradient: that is score mismatch. On points whose true "
        "scores are known, how large is it, does scaling the gradient cure it, and does training the gradient itself "
        f"by denoising likelihood score matching (DLSM)? Preset: {preset}; all at noise level sigma {sigma:g}.</p>"
    )


def columns(run, fields):
    if not fields:
        return ""
    posteriors = {m: np.stack([fields[f"{m}_posterior_{c}"] for c in (0, 1)]) for m in TITLES}
    drawn = {}
    if run.samples:
        drawn = {m: np.stack([run.samples[f"langevin_{m}_{c}"] for c in (0, 1)]) for m in TITLES}
    png = pictures.columns(fields["points"], posteriors, drawn, TITLES)
    caption = (
        "A column a method; arrows are posterior scores of the upper class (first row) and of the lower class (second "
        "row), all to one scale and cut where very long; then how far they are from the oracle's, black from "
        f"{pictures.FAR:g} on, mean of both classes; then samples of Langevin dynamics at this noise level, which "
        "should look like the oracle's: moons blurred by the noise. Samples that look tidier than that are wrong too."
    )
    parts = [run.picture("fields", png, caption, "grid")]
    if run.samples:
        clean = {m: np.stack([run.samples[f"reverse_sde_{m}_{c}"] for c in (0, 1)]) for m in TITLES}
        png = pictures.scatter(clean, TITLES)
        caption = "Samples of the whole reverse SDE: they should cover the half circles to their ends, class by class."
        parts.append(run.picture("reverse_sde", png, caption, "grid"))
    return "\n".join(parts)


def zero_error(fields):
    """D_L of predicting zero: the mean norm of the true likelihood score; None when not measured."""
    if not fields:
        return None
    return np.mean([np.linalg.norm(fields[f"oracle_likelihood_{c}"], axis=-1).mean() for c in (0, 1)])


def errors(run, zero):
    if not measured(run) or zero is None:
        return ""
    rows = []
    for method, title in METHODS.items():
        for c, name in enumerate(CLASSES):
            found = [error(run, method, oracle, d, c) for oracle in ("exact", "published") for d in ("D_P", "D_L")]
            paper = PAPER.get(method, ((None, None),) * 2)[c]
            rows.append((title, name, *(f"{v:.3f}" if v is not None else "" for v in (*found, *paper))))
    header = ("Method", "Class", "D_P exact", "D_L exact", "D_P published", "D_L published", "D_P paper", "D_L paper")
    return table(header, rows) + (
        "<p>Mean distance to the true posterior score (D_P) and likelihood score (D_L) over the grid of 1,225 points. "
        "Exact: against the true scores; published: against the released program's, whose density has 1e-8 added; "
        "paper: the figures of Chao et al. 2022, tables 1 and A3, measured as published. Predicting zero has a D_L of "
        f"{zero:.3f} (exact).</p>"
    )


def samples(run):
    names = ("precision", "recall", "density", "coverage")
    rows = [
        (title, name, sampler.replace("_", " "), *(number(found[n]) for n in names))
        for method, title in METHODS.items()
        for c, name in enumerate(CLASSES)
        for sampler in ("langevin", "reverse_sde")
        if (found := (run.result("score_error", method) or {}).get(str(c), {}).get(sampler))
    ]
    if not rows:
        return ""
    k = run.config["evaluation"]["neighbours"]
    return table(("Method", "Class", "Samples", *names), rows) + (
        f"<p>With {k} neighbours: samples of Langevin dynamics against data with the same noise, samples of the "
        "reverse SDE against clean data. Precision: share of samples near data; recall: share of data near samples; "
        "density and coverage: their counterparts that outliers move less.</p>"
    )


def run_curves(run, loss, name):
    """(steps [N], values [R, N]) of a number that every run of a loss logged; None without."""
    found = [curve(run, f"classifier_{loss}", f"{name}_{r}") for r in range(run.config["classifier"]["runs"])]
    if any(curve is None for curve in found):
        return None
    return found[0][0], np.stack([values for _, values in found])


def error_curves(run, zero):
    parts = []
    texts = {
        "score_error": (
            "score error D_L, both classes",
            "Error of the likelihood score, which DLSM makes small directly and cross-entropy only by the way.",
            zero and (zero, "predicting zero"),
        ),
        "ce": (
            "cross-entropy",
            "Cross-entropy on noisy points: DLSM alone leaves it free, and its gradients are as good all the same.",
            None,
        ),
    }
    for name, (ylabel, text, reference) in texts.items():
        series = {loss: run_curves(run, loss, name) for loss in LOSSES}
        series = {loss: found for loss, found in series.items() if found is not None}
        if series:
            png = pictures.curves(series, ylabel, LOSS_NAMES, reference)
            runs = len(next(iter(series.values()))[1])
            spread = f" Mean and 95 % interval over {runs} runs." if runs > 1 else " One run."
            parts.append(run.picture(f"curve_{name}", png, text + spread))
    return side_by_side(parts) if parts else ""


def training(run):
    parts = []
    for stage in ("score", *(f"classifier_{loss}" for loss in LOSSES)):
        found = curve(run, stage, "loss")
        if found is not None:
            loss = stage.removeprefix("classifier_")
            title = "Score networks: loss" if stage == "score" else f"Classifiers by {LOSS_NAMES[loss]}: loss"
            png = charts.training_curve(title, {"loss": found})
            text = f"Loss, summed over the networks that train side by side. {LINES}"
            parts.append(run.picture(f"training_{stage}", png, text))
    cost = table(
        ("Stage", "Seconds", "Steps", "Networks (of each loss)", "Parameters of each"),
        [
            ("score", *(run.result("score", key) for key in ("seconds", "steps", "networks", "parameters"))),
            ("classifier", *(run.result("classifier", key) for key in ("seconds", "steps", "runs", "parameters"))),
            *((stage, run.result(stage, "seconds"), "", "", "") for stage in ("samples", "evaluation")),
        ],
    )
    return side_by_side(parts) + cost + "".join(map(paragraph, machines(run))) if parts else ""


def summary(opened) -> str:
    """The few lines that a study prints at its end."""
    run = Snapshot(opened)
    lines = [f"preset     {run.config.get('preset', '')}", f"{'method':<18}{'D_P exact':>11}{'D_L exact':>11}"]
    for method, title in METHODS.items():
        values = [mean_error(run, method, name) for name in ("D_P", "D_L")]
        lines.append(f"{title:<18}" + "".join(f"{'' if v is None else f'{v:.4f}':>11}" for v in values))
    return "\n".join([*lines, f"report     {run.workdir / 'report.html'}"])
