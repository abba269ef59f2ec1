"""report.html: what a run did, on one page that holds everything, made from the files of the run alone.

What the run has not measured is left out and said so; no data set and no network is needed to make the page or read it.
"""

import json
from html import escape
from pathlib import Path

import numpy as np

from scoressl_jax.files import flat
from scoressl_jax.report import charts
from scoressl_jax.report.generation import generation_section, in_a_line
from scoressl_jax.report.html import NOT_MEASURED, details, number, page, section, share, side_by_side, table
from scoressl_jax.report.snapshot import Snapshot

COLUMNS, PAIRS, PAIR_CLASSES = 10, 8, 10  # pictures in a row; sample pairs of a class, and classes that show them


def write_report(opened) -> Path:
    """Write figures/*.png, samples/grid.png and report.html of an opened run; returns the page's path."""
    run = Snapshot(opened)
    body = "\n".join(
        [
            headline(run),
            section("question", "The question", f"<p>{escape(question(run))}</p>"),
            section("data", "The data and its labels", data_and_labels(run)),
            section("results", "Results", results(run)),
            section("samples", "Samples", samples(run)),
            section("generation", "How good are the samples", generation(run)),
            side_by_side(
                [
                    section("noise", "Accuracy by noise level", noise(run)),
                    section("confusion", "Which classes are confused", confusion(run)),
                    section("reliability", "Can its confidence be trusted", reliability(run)),
                ]
            ),
            section("gradients", "What guides the sampling", gradients(run)),
            section("training", "Training", training(run)),
            section("settings", "Settings", settings(run)),
            section("command", "How to repeat it", run.command and a_flag_a_line(run.command)),
        ]
    )
    return run.write("report.html", page(f"{run.data_name}: report", body))


def headline(run):
    answers = (
        ("classifier", "f1", number, "F1 score of the positive class"),
        ("classifier", "accuracy", share, "of test images recognised"),
        ("classifier", "accuracy_all_noise", share, "recognised when noise of any level is added"),
        ("samples", "class_agreement", share, f"of samples show the class asked for, says {the_judge(run)}"),
    )
    tiles = [(form(run.result(*key)), text) for *key, form, text in answers if run.result(*key) is not None]
    best = share(run.result("classifier", "accuracy"))
    title = f"{run.data_name}: {f'{best} accuracy' if best else f'{run.regime} run'} from {run.budget}"
    boxes = [f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>' for value, text in tiles]
    body = side_by_side(boxes, "tiles") if tiles else NOT_MEASURED
    return f'<header id="headline"><h1>{escape(title)}</h1>\n{body}\n</header>'


def the_judge(run):
    """What says whether samples show their class, and how far it can be believed."""
    accuracy = share(run.result("samples", "judge_accuracy"))
    return "an independent judge" + (f", itself right about {accuracy} of test images" if accuracy else "")


def question(run):
    kind = run.config.get("classifier", {}).get("kind", "").replace("_", "-")
    teachers = {
        "ssl": f"{run.budget} and the unlabelled images",
        "pu": f"{run.budget} and the unlabelled images, without a single labelled negative",
    }.get(run.config.get("regime"), f"{run.budget} alone")
    return (
        f"A score network was trained on all training images of {run.data_name} without their labels, and a {kind} "
        f"classifier on {teachers}. How well does the classifier recognise images that it has never seen, and do "
        "images drawn under its guidance show the class that was asked for?"
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
            ("classes that count as positive", plan.get("positive_classes") or None),
            ("share of positives among the unlabelled images", plan.get("class_prior") or None),
            ("the same, estimated", estimated_prior(run)),
        ],
    )
    images, labels = run.evaluation.get("labeled_images"), run.evaluation.get("labeled_labels")
    if images is None or labels is None or not len(labels):
        return counts
    caption = "Some of the labelled images: such labels are all that the classifier was told about the classes."
    grid = charts.class_grid(images, labels, run.names(int(labels.max()) + 1), COLUMNS)
    return side_by_side([f"<div>{counts}</div>", run.picture("labeled", grid, caption, "grid")], "wide")


def estimated_prior(run):
    found = {name: run.result("class_prior", name) for name in ("estimate", "standard_error", "true")}
    if found["estimate"] is None:
        return None
    known = "" if found["true"] is None else f" (in truth {found['true']:.3f})"
    return f"{found['estimate']:.3f} ± {found['standard_error']:.3f}{known}"


def results(run):
    judge = run.result("samples", "class_agreement_judge") or "independent classifier"
    measures = (
        ("classifier", "accuracy", share, "accuracy", "clean test images"),
        ("classifier", "accuracy_all_noise", share, "accuracy over all noise", "test images, each at a random t"),
        ("classifier", "accuracy_area", share, "area under accuracy by t", "test images, all at each t"),
        ("classifier", "f1", number, "F1", "positive class"),
        ("classifier", "precision", share, "precision", "positive class"),
        ("classifier", "recall", share, "recall", "positive class"),
        ("classifier", "ece", number, "expected calibration error", "0 is perfect"),
        ("samples", "class_agreement", share, "class agreement of samples", f"judge: {judge}"),
        ("samples", "judge_accuracy", share, "accuracy of the judge", "clean test images"),
    )
    rows = [(name, form(run.result(*key)), note) for *key, form, name, note in measures if run.result(*key) is not None]
    rows += [(name, value, "of test images, by the score network") for name, value in likelihood(run)]
    cost = table(
        ("Stage", "Seconds", "Steps", "Parameters"),
        [(stage, *(block.get(key) for key in ("seconds", "steps", "parameters"))) for stage, block in timed(run)],
    )
    names = ("class", "precision", "recall", "f1", "count")
    classes = [tuple(row.get(name, "") for name in names) for row in run.result("classifier", "per_class") or ()]
    per_class = details("Precision, recall and F1 of each class", table(names, classes))
    return table(("Measure", "Value", "On"), rows) + cost + per_class


def timed(run):
    """(stage, its block of results.json) of every stage that took time, in the order in which they were done."""
    return [(name, block) for name, block in run.results.items() if "seconds" in block]


def samples(run):
    images, labels = run.samples.get("images"), run.samples.get("labels")
    if images is None or labels is None or not len(labels):
        return ""
    names = run.names(int(labels.max()) + 1)
    grid = charts.class_grid(images, labels, names, COLUMNS)
    run.write("samples/grid.png", grid)
    caption = f"Samples drawn for each class, the first {COLUMNS} of a row: look for variety within a row"
    # Arrays of an evaluation before the last sampling would tell about other images.
    judged, nearest = (run.evaluation.get(name) for name in ("judge_predictions", "nearest"))
    if judged is not None and len(judged) == len(labels):
        wrong = judged != labels
        grid = charts.class_grid(images, labels, names, COLUMNS, wrong)
        caption += f"; red marks what the judge takes for another class, {wrong.sum()} of all {len(labels)} samples"
    distances = run.result("samples", "nearest_distance") or {}
    medians = table(
        ("Median distance, pixels in 0..1", "Value"),
        [
            ("of samples to the nearest training image", distances.get("samples_to_train")),
            (
                "of test images to the nearest training image (copies would lie far below)",
                distances.get("test_to_train"),
            ),
            ("of samples to the nearest other sample of their class (0 is collapse)", distances.get("between_samples")),
        ],
    )
    parts = [f"<div>{run.picture('samples', grid, caption + '.', 'grid')}{medians}</div>"]
    if "given" in run.samples:
        given, originals = run.samples["given"], run.samples["originals"]
        restored = charts.restored_grid(given, images, originals, labels, names[:PAIR_CLASSES], PAIRS)
        caption = "Test images of which a part was given: what was drawn should fit it, and need not be the original."
        parts.append(run.picture("restored", restored, caption, "grid"))
    if nearest is not None and len(nearest) == len(images):
        pairs = charts.pair_grid(images, nearest, labels, names[:PAIR_CLASSES], PAIRS)
        caption = "Samples above their nearest training images: alike in style is good, equal would be a copy."
        parts.append(run.picture("nearest", pairs, caption, "grid"))
    return side_by_side(parts, "wide")


def generation(run):
    found = generation_section(run.results.get("generation", {}), run.result("samples", "judge_accuracy"))
    if found or "nearest" not in run.evaluation:
        return found
    return (
        "<p>The samples were not judged: an independent judge needs the label of every training image. "
        "<code>scoressl evaluate REFERENCE SAMPLES</code> compares them with any labelled images.</p>"
    )


def likelihood(run):
    """(name, bits) rows."""
    block = run.results.get("likelihood", {})
    return [(f"{name.replace('_', ' ')} images", value) for name, value in block.items() if name.startswith("bits")]


def noise(run):
    rows = [row for row in run.result("classifier", "accuracy_by_noise") or () if row.get("sigma", 0) > 0]
    if not rows:
        return ""
    names = ("sigma", "accuracy", "guidance_norm")
    sigma, accuracy, norms = np.array([[row.get(name, np.nan) for name in names] for row in rows]).T
    classes = run.data.get("num_classes")
    png = charts.accuracy_by_noise(sigma, accuracy, norms if np.isfinite(norms).all() else None, classes)
    caption = (
        "How much noise the classifier sees through: accuracy should stay high far to the right, and falls to "
        "guessing where nothing of the image is left."
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
    return run.picture("reliability", png, caption)


def gradients(run):
    arrays = [run.evaluation.get(f"gradient{name}") for name in ("_images", "_noisy", "s", "_labels")]
    if any(array is None or not len(array) for array in arrays):
        return ""
    clean, noisy, slopes, labels = (array[:COLUMNS] for array in arrays)
    names = run.names(int(labels.max()) + 1)
    png = charts.gradient_grid(clean, noisy, slopes, [names[label] for label in labels])
    time = run.evaluation.get("gradient_t")
    assisted = run.config.get("classifier", {}).get("kind") == "denoising_assisted"
    caption = (
        f"Test images, the same diffused{'' if time is None else f' to t = {float(time):g}'}, and the gradient "
        f"of log p(class) there{', through the denoised image too' if assisted else ''}, stretched to its own "
        "range: look for strokes and edges, not speckle."
    )
    return run.picture("gradients", png, caption, "grid")


def curve(run, stage, name):
    """(steps, values) of a logged number, the last logged where a step was repeated; None with fewer than two."""
    found = {
        row["step"]: row[name]
        for row in run.metrics
        if row.get("stage") == stage and isinstance(row.get(name), int | float) and np.isfinite(row[name])
    }
    return np.array(sorted(found.items()), float).T if len(found) > 1 else None


def training(run):
    panels = [("score", name, {name: name}, False, text) for name, text in charts.SCORE_CURVES.items()]
    panels += [("classifier", name, {name: name}, False, text) for name, text in charts.CLASSIFIER_CURVES.items()]
    panels += [("classifier", title, names, True, text) for title, (names, text) in charts.SHARE_CURVES.items()]
    parts = []
    for stage, title, names, is_share, text in panels:
        series = {label: curve(run, stage, name) for name, label in names.items()}
        # Right pseudo-labels are counted where hidden labels are known; 0 throughout says that they are not.
        unknown = names.get("pseudo_right") if run.data.get("num_unlabeled") else None
        series = {
            label: values
            for label, values in series.items()
            if values is not None and not (label == unknown and not values[1].any())
        }
        if series:
            png = charts.training_curve(f"{stage}: {title}", series, is_share)
            parts.append(run.picture(f"training_{stage}_{title}", png, text))
    return side_by_side(parts) if parts else ""


def a_flag_a_line(command):
    """A command as HTML that a shell takes as it stands."""
    lines = escape(command).replace(" --", " \\\n    --")
    return f"<pre><code>{lines}</code></pre>"


def settings(run):
    rows = [(name, json.dumps(value)) for name, value in flat(run.config)]
    return details("All settings of this run", table(("Field of config", "Value"), rows))


def summary(opened) -> str:
    """The few lines that a run prints at its end: what it was, what came out, where the page is."""
    run = Snapshot(opened)
    judge = share(run.result("samples", "judge_accuracy")), run.result("samples", "class_agreement_judge")
    path = run.workdir / "report.html"
    lines = {
        "data": f"{run.data_name}, {run.regime} from {run.budget}",
        "accuracy": share(run.result("classifier", "accuracy")),
        "all noise": share(run.result("classifier", "accuracy_all_noise")),
        "F1": number(run.result("classifier", "f1")),
        "agreement": share(run.result("samples", "class_agreement")),
        "judge": ": ".join(filter(None, judge)),
        "samples": in_a_line(run.results.get("generation", {})),
        "seconds": ", ".join(f"{stage} {block['seconds']:.0f}" for stage, block in timed(run)),
        "report": path if path.exists() else None,
    }
    return "\n".join(f"{name:<10}{value}" for name, value in lines.items() if value)
