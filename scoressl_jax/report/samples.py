"""The pictures of report.html: labelled images, samples, their nearest training images, and gradients."""

import numpy as np

from scoressl_jax.report import charts
from scoressl_jax.report.html import Strip, strips, table

COLUMNS, PAIR_CLASSES = 10, 10  # pictures in a row; classes that show pairs


def in_strips(text, rows, labels, names, columns, caption, *, least=30, wrong=None):
    """A strip of images for each class, beside its name; `text` is what they are, for those who cannot see them."""
    found = charts.class_strips(rows, labels, names, columns, wrong)
    return strips([Strip(names[k], png, f"{text} {names[k]}") for k, png in found], caption, least)


def labelled(run):
    """Some of the labelled images of each class; "" where none were kept."""
    images, labels = run.evaluation.get("labeled_images"), run.evaluation.get("labeled_labels")
    if images is None or labels is None or not len(labels):
        return ""
    names = run.names(int(labels.max()) + 1)
    run.write("figures/labeled.png", charts.class_grid(images, labels, names, COLUMNS))
    of_each = " of each class" if len(np.unique(labels)) == run.data.get("num_classes") else ""
    caption = f"Some labelled images{of_each}: such labels are all that was told about the classes."
    return in_strips("labelled images of class", [images], labels, names, COLUMNS, caption, least=24)


def samples(run):
    """Samples of each class, what the judge objects to, and how near they come to the training images."""
    images, labels = run.samples.get("images"), run.samples.get("labels")
    if images is None or labels is None or not len(labels):
        return ""
    names = run.names(int(labels.max()) + 1)
    run.write("samples/grid.png", charts.class_grid(images, labels, names, COLUMNS))
    shown = f", the first {COLUMNS} of each" if np.bincount(labels).max() > COLUMNS else ""
    caption, wrong = f"Samples drawn for each class{shown}: look for variety within a row", None
    # Arrays of an evaluation before the last sampling would tell about other images.
    judged, nearest = (run.evaluation.get(name) for name in ("judge_predictions", "nearest"))
    if judged is not None and len(judged) == len(labels):
        wrong = judged != labels
        caption += f"; red marks what the judge takes for another class, {wrong.sum()} of all {len(labels)} samples"
    run.write("figures/samples.png", charts.class_grid(images, labels, names, COLUMNS, wrong))
    parts = [in_strips("samples of class", [images], labels, names, COLUMNS, f"{caption}.", wrong=wrong)]
    if "given" in run.samples:
        parts.append(restored(run, images, labels, names[:PAIR_CLASSES]))
    if nearest is not None and len(nearest) == len(images):
        parts.append(neighbours(run, images, nearest, labels, names[:PAIR_CLASSES]))
    return "\n".join([*parts, medians(run)])


def restored(run, images, labels, names):
    given, originals = run.samples["given"], run.samples["originals"]
    run.write("figures/restored.png", charts.restored_grid(given, images, originals, labels, names, COLUMNS))
    caption = (
        "Test images of which a part was given: from top to bottom what was given, what was drawn, and the original. "
        "What was drawn should fit what was given, and need not be the original."
    )
    text = "given parts, drawn images and originals of class"
    return in_strips(text, [given, images, originals], labels, names, COLUMNS, caption)


def neighbours(run, images, nearest, labels, names):
    run.write("figures/nearest.png", charts.pair_grid(images, nearest, labels, names, COLUMNS))
    caption = (
        "Samples, and below each the training image nearest to it: alike in style is good, equal would be a copy. "
        "Nearest is meant pixel by pixel, so what is near need not be of the same class."
    )
    return in_strips("samples above nearest training images, class", [images, nearest], labels, names, COLUMNS, caption)


def medians(run):
    """Distances that tell copies and collapse apart from good samples."""
    distances = run.result("samples", "nearest_distance") or {}
    rows = [
        ("samples to the nearest training image", distances.get("samples_to_train"), "far below the next line: copies"),
        ("test images to the nearest training image", distances.get("test_to_train"), "what new images have"),
        ("samples to the nearest other sample of their class", distances.get("between_samples"),
         "near 0: all samples of a class are alike (collapse)"),
    ]  # fmt: skip
    return table(("Median distance, pixels in 0..1", "Value", "How to read it"), rows, "told")


def gradients(run):
    """What the classifier adds to the score at a noisy image, an example a class."""
    arrays = [run.evaluation.get(f"gradient{name}") for name in ("_images", "_noisy", "s", "_labels")]
    if any(array is None or not len(array) for array in arrays):
        return ""
    clean, noisy, slopes, labels = (array[:COLUMNS] for array in arrays)
    names = [run.names(int(labels.max()) + 1)[label] for label in labels]
    run.write("figures/gradients.png", charts.gradient_grid(clean, noisy, slopes, names))
    columns = zip(names, clean, noisy, slopes, strict=True)
    found = [
        Strip(name, charts.gradient_grid([image], [x], [g]), f"test image of class {name}, with noise, and gradient")
        for name, image, x, g in columns
    ]
    time = run.evaluation.get("gradient_t")
    assisted = run.config.get("classifier", {}).get("kind") == "denoising_assisted"
    caption = (
        f"From top to bottom: test images, the same with noise{'' if time is None else f' (t = {float(time):g})'}, and "
        f"the gradient of log p(class) there{', through the denoised image too' if assisted else ''}, which is what "
        "guidance adds; each stretched to its own range: look for strokes and edges, not speckle."
    )
    return strips(found, caption, least=4.5, above=True)
