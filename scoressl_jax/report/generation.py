"""The part of report.html that says how good the samples are, from the block `generation` of results.json."""

from html import escape

from scoressl_jax.metrics.generation import BIAS, BIASED_BELOW, FIGURES, described
from scoressl_jax.report.html import number, paragraph, share, side_by_side, table


def judge_is_missing(run):
    """Whether samples could not be judged because not every training image has a label, hidden or not."""
    hidden, unlabeled = run.data.get("num_hidden"), run.data.get("num_unlabeled", 0)
    is_known = hidden is not None and "nearest" in run.evaluation
    return is_known and hidden < unlabeled and run.result("samples", "class_agreement") is None


def generation(run):
    """The block as HTML, with what was not measured and why; "" where nothing was measured yet."""
    block, plan = run.results.get("generation", {}), run.config.get("evaluation", {})
    found = generation_section(block, run.result("samples", "judge_accuracy"))
    if judge_is_missing(run):
        without = run.data["num_unlabeled"] - run.data["num_hidden"]
        text = (
            f"No judge could be trained: it would learn from the label of every training image, and {without:,} of "
            f"{run.data['num_train']:,} have none. So whether samples show the class asked for was not measured"
        )
        if plan.get("features") == "judge" and found:
            text += (
                ", and they are compared with real images by their pixels: a crude measure, which sees brightness and "
                "place rather than what is shown"
            )
        if found and plan.get("reference") == "train":
            text += "; class by class they would be compared with test images (evaluation.reference=test)"
        return paragraph(f"{text}. Look at the samples themselves.") + found
    if found or "nearest" not in run.evaluation:
        return found
    if plan.get("features") == "none":
        return paragraph("Samples were not compared with real images, as evaluation.features is none.")
    if not plan.get("judge_steps", 1):
        return paragraph(
            "Samples were not compared with real images, as evaluation.judge_steps is 0 and there is no judge to do it "
            "by: a run with evaluation.features=pixels compares them by their pixels."
        )
    return paragraph("The samples were not judged: an independent judge needs the label of every training image.")


def generation_section(block, judge_accuracy=None):
    """The block as HTML, "" where nothing was measured; judge_accuracy is what CAS would be with real images."""
    rows = described(block)
    if not rows:
        return ""
    counts = [block.get(name) for name in ("count", "reference_count")]
    against = "test" if block.get("reference") == "test" else "training"
    by = "pixel by pixel" if block["features"] == "pixels" else f"by features of {block['features']}"
    text = f"{counts[0]:,} samples against {counts[1]:,} {against} images, {by}."
    values = {"CAS": share(block.get("cas"), block.get("cas_standard_error"))}
    real = {} if judge_accuracy is None else {"CAS": f"; trained on real ones: {share(judge_accuracy)}"}
    rows = [
        (title, values.get(title, value), f"{what}{real.get(title, '')}{f'; {good} is better' if good else ''}")
        for title, value, good, what in rows
    ]
    warning = f"<p><strong>{escape(BIAS)}.</strong></p>" if min(counts) < BIASED_BELOW else ""
    neighbours = paragraph(
        "Precision, recall, density and coverage are of neighbourhoods that reach from each image to the "
        f"{block['k']} nearest of its kind (k = {block['k']}, convention {block['convention']}). Features differ in "
        "scale: only figures of the same features compare.",
        "soft",
    )
    figures = table(("Figure", "Value", "What it tells"), rows, "told")
    by_class, notes = classes(block), warning + neighbours
    if not by_class:
        return paragraph(text) + figures + notes
    return paragraph(text) + side_by_side([f"<div>{part}</div>" for part in (figures, by_class + notes)], "wide")


def in_a_line(block):
    """The figures that tell most, for the summary of a run."""
    rows = {title: value for title, value, *_ in described(block)}
    titles = [title for title in rows if title.startswith("FID@") or title in ("precision", "recall", "CAS")]
    return ", ".join(f"{title} {number(rows[title])}" for title in titles)


def classes(block):
    """A table with a row a class, and their mean; "" where classes were not compared."""
    classwise, mean = block.get("classwise", {}), block.get("classwise_mean", {})
    columns = list(mean)
    titles = [FIGURES[name.partition("@")[0]][0] + name.removeprefix(name.partition("@")[0]) for name in columns]
    rows = [(name, row["count"], *(row[column] for column in columns)) for name, row in classwise.items()]
    if rows:
        rows.append(("mean", sum(row["count"] for row in classwise.values()), *mean.values()))
    return table(("Class", "Samples", *titles), rows, "numbers")
