"""scoressl evaluate REFERENCE SAMPLES [--features=...]: how good samples are, against real images.

REFERENCE and SAMPLES are .npz files (uint8 images under images, arr_0, x_train or x_test, the first found; labels under
labels, arr_1, y_train or y_test) or folders of images, whose subfolders are classes. Prints a table and writes the same
figures as JSON. Both sides labelled, every class is measured as well.
"""

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from scoressl_jax.commands.arguments import Parser, at_least, check_target
from scoressl_jax.data import image_sets
from scoressl_jax.data.image_sets import ImageSet
from scoressl_jax.data.pictures import FITS, is_colour
from scoressl_jax.devices import prepare_jax, use_cores
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.judge import Judge, check_shape, judge_network, judge_of_run, measuring_job
from scoressl_jax.files import path_of, write_json
from scoressl_jax.metrics.features import Extractor, extractor
from scoressl_jax.metrics.generation import compare_samples, described
from scoressl_jax.metrics.manifold import INSIDE
from scoressl_jax.training.loop import train
from scoressl_jax.training.signals import StopSignal


def parse(argv: list) -> Namespace:
    plan = default_config().evaluation
    parser = Parser("scoressl evaluate", description=__doc__)
    parser.add_argument("reference", metavar="REFERENCE", help="real images: .npz or folder")
    parser.add_argument("samples", metavar="SAMPLES", help="generated images: .npz or folder")
    parser.add_argument(
        "--features",
        default="judge",
        help="judge: penultimate layer of a classifier trained on REFERENCE's labels (the default); judge:RUN: of the "
        "judge of the run in directory RUN; inception:FILE: Inception-v3 with weights of FILE; pixels",
    )
    parser.add_argument("--convention", choices=tuple(INSIDE), default=plan.convention, help=f"({plan.convention})")
    parser.add_argument(
        "--fit", choices=FITS, default=FITS[0], help=f"how --image-size makes images square ({FITS[0]})"
    )
    parser.add_argument("--background", default="white", metavar="COLOUR", help="behind transparent images (white)")
    parser.add_argument("--skip-damaged", action="store_true", help="leave out files of folders that cannot be read")
    parser.add_argument("--out", metavar="FILE", help="JSON to write (SAMPLES_generation.json, without any .npz)")
    for flag, least, default, text in (
        ("--k", 1, plan.k, "nearest neighbours of precision, recall, density and coverage"),
        ("--cas-steps", 0, 0, "steps of training for the classification accuracy score; 0 leaves it out"),
        ("--judge-steps", 1, plan.judge_steps, "steps of training the judge"),
        ("--judge-depth", 4, plan.judge_depth, "layers of the judge and of CAS's classifier, 6 n + 4"),
        ("--judge-widen", 1, plan.judge_widen, "their width"),
        ("--batch-size", 1, plan.batch_size, "images at a time"),
        ("--image-size", 1, None, "resize images of folders to this height and width"),
        ("--seed", 0, 0, "of training and of KID's subsets"),
    ):
        shown = "" if default is None else f" ({default})"
        parser.add_argument(flag, type=at_least(least), default=default, metavar="N", help=text + shown)
    options = parser.parse_args(argv)
    if not is_colour(options.background):
        parser.error(f"--background={options.background} is no colour: give one as in white or #808080")
    if (options.judge_depth - 4) % 6:
        parser.error(f"--judge-depth={options.judge_depth}: it must be 6 n + 4 (4, 10, 16, 22 ...)")
    return options


def config_of(options: Namespace) -> ConfigDict:
    """The default config with the options in place of the fields that a judge and its training have."""
    config = default_config()
    fields = ("judge_steps", "judge_depth", "judge_widen", "batch_size")
    config.evaluation.update({name: getattr(options, name) for name in fields})
    config.seed = options.seed
    return config


def read(options: Namespace) -> list[ImageSet]:
    """(reference, samples) as ImageSets of one size, said on stdout."""
    how = {name: getattr(options, name) for name in ("fit", "background", "skip_damaged")}
    both = [image_sets.read_images(path, options.image_size, **how) for path in (options.reference, options.samples)]
    image_sets.check_sizes(*both)
    for name, found in zip(("reference", "samples"), both, strict=True):
        print(f"{name:<10}{found}", flush=True)
    return both


def train_judge(config: ConfigDict, images: np.ndarray, labels: np.ndarray, *, name, trained_on, steps) -> Judge:
    """A Judge of labelled images, uint8 `[N, H, W, C]`, without a run to keep it in; labels -1 are left out."""
    known, num_classes = labels >= 0, int(labels.max()) + 1
    images, labels = images[known], labels[known].astype(np.int32)
    with tempfile.TemporaryDirectory() as workdir:
        job = measuring_job(
            name=name, config=config, images=images, labels=labels, num_classes=num_classes, steps=steps
        )
        state = train(job, workdir, StopSignal())
    return Judge(judge_network(config.evaluation, num_classes), state.ema_params, trained_on)


def features_of(options: Namespace, config: ConfigDict, reference: ImageSet, labels) -> Extractor:
    """What --features names; `labels` int `[N]` of the reference, or None."""
    kind, _, source = options.features.partition(":")
    judge, batch = None, config.evaluation.batch_size
    if options.features == "judge":
        if labels is None:
            raise UserError(
                f"{reference.what}: no labels to train a judge on: take --features=judge:RUN, inception:FILE or pixels"
            )
        trained_on = f"{int((labels >= 0).sum())} labels of {reference.what}"
        steps = config.evaluation.judge_steps
        judge = train_judge(config, reference.images, labels, name="judge", trained_on=trained_on, steps=steps)
    elif kind == "judge":
        judge = judge_of_run(source)
        check_shape(judge, reference.images.shape[1:], source)
    elif options.features != "pixels" and not (kind == "inception" and source):
        raise UserError(
            f"command line: --features={options.features}: give judge, judge:RUN, pixels, or inception:FILE with the "
            "file of its weights (docs/metrics.md)"
        )
    return extractor(kind, judge, source, batch)


def compare(options: Namespace, out: Path) -> tuple[dict, list[str]]:
    """(block `generation`, warnings) of what the command line names; `out` is where the former will be written."""
    config = config_of(options)
    prepare_jax()
    use_cores([options.batch_size])
    if options.batch_size % jax.device_count():
        raise UserError(f"--batch-size={options.batch_size}: make it a multiple of the {jax.device_count()} devices")
    reference, samples = read(options)
    check_target("--out", out, out.parent)
    names, real_labels, sample_labels = image_sets.common_labels(reference, samples)
    if options.cas_steps and (real_labels is None or sample_labels is None):
        raise UserError("command line: --cas-steps needs labels of both REFERENCE and SAMPLES")
    features = features_of(options, config, reference, real_labels)
    real, fake = (reference.images, real_labels), (samples.images, sample_labels)
    block, warnings = compare_samples(
        features, real, fake, names, k=options.k, convention=options.convention, seed=options.seed
    )
    if options.cas_steps:
        cas = train_judge(config, *fake, name="cas", trained_on=samples.what, steps=options.cas_steps)
        known = real_labels >= 0
        block["cas"] = cas.accuracy(reference.images[known], real_labels[known], config.evaluation.batch_size)
    return {"reference": reference.what, "samples": samples.what, **block}, warnings


def table(block: dict) -> str:
    """The figures of a block as lines of text, over all and class by class."""
    lines = [f"features  {block['features']}", f"k={block['k']}, convention {block['convention']}", ""]
    for title, value, better, what in described(block):
        lines.append(f"{title:<22}{value:>10.4f}  {better:<7} {what}")
    rows = {**block.get("classwise", {}), **({"mean": block["classwise_mean"]} if "classwise" in block else {})}
    measured = list(block.get("classwise_mean", {}))
    if rows:
        width = max(map(len, rows)) + 2
        lines += ["", " " * width + "".join(f"{name:>12}" for name in ("count", *measured))]
        for name, row in rows.items():
            cells = "".join(f"{row[column]:>12.4f}" for column in measured)
            lines.append(f"{name:<{width}}{row.get('count', ''):>12}{cells}")
    return "\n".join(lines)


def main(argv: list) -> int:
    options = parse(argv)
    beside = f"{str(path_of(options.samples)).removesuffix('.npz')}_generation.json"
    out = path_of(options.out or beside, "--out")
    block, warnings = compare(options, out)
    write_json(out, block)
    print(table(block))
    print(f"written   {out}")
    for warning in warnings:
        print(f"scoressl_jax: {warning}", file=sys.stderr)
    return 0
