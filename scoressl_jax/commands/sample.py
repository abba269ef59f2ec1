"""scoressl sample RUN --out=PATH [--classes=3,7] [--count=N] [...]: images from the networks of a run.

PATH.npz gets images (uint8 [N, H, W, C]), labels and class_names; any other PATH is a folder that gets
CLASS/INDEX.png. Needs no data set. What is not said is as in the run; image i follows from the seed, i and its class.
"""

from argparse import Namespace
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

import scoressl_jax
from scoressl_jax.commands.arguments import Parser, at_least, check_target
from scoressl_jax.devices import prepare_jax, use_cores
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.drawing import save_pngs
from scoressl_jax.experiment.samplers import SAMPLERS, check_classes, wanted_labels
from scoressl_jax.files import path_of, write_npz


def parse(argv: list) -> Namespace:
    parser = Parser("scoressl sample", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="directory of a finished run")
    parser.add_argument("--out", metavar="PATH", required=True, help="an .npz file, or a folder, that is not there yet")
    parser.add_argument("--classes", metavar="A,B", help="classes to draw, by name")
    parser.add_argument("--count", type=at_least(1), metavar="N", help="images in all, round the classes")
    parser.add_argument("--scale", type=float, metavar="X", help="of the classifier's gradient; 0 is unguided")
    parser.add_argument("--sampler", choices=tuple(SAMPLERS))
    parser.add_argument("--steps", type=at_least(2), metavar="N", help="of the sampler; ode has none to set")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="(0)")
    options = parser.parse_args(argv)
    if options.scale is not None and not 0 <= options.scale < float("inf"):
        parser.error(f"--scale={options.scale:g}: it must be 0 or more")
    return options


def labels_of(options: Namespace, plan: ConfigDict, class_names: tuple) -> np.ndarray:
    """Class of every image, int32 `[N]`; `plan`: the run's block `sampling`, in which --classes and --count stand."""
    if options.classes is not None:
        classes = tuple(options.classes.split(","))
        strange = [name for name in classes if name not in class_names]
        if strange or len(set(classes)) < len(classes):
            wrong = f"there is no class {strange[0]!r}" if strange else "a class comes twice"
            raise UserError(f"--classes={options.classes}: {wrong}; choose among {', '.join(class_names)}")
        plan.update(classes=classes, per_class=())
    if options.count is not None:
        plan.update(count=options.count, per_class=())
    check_classes(plan, class_names)
    return wanted_labels(plan, class_names)


def check_free(out: Path) -> None:
    """A UserError where `out` has something in it, or cannot be made; so it is before hours of drawing."""
    if out.is_dir() and (out.suffix == ".npz" or any(out.iterdir())) or out.is_file() and out.stat().st_size:
        raise UserError(f"--out={out} is there already: name another, or delete it")
    check_target("--out", out, out.parent if out.suffix == ".npz" else out)


def main(argv: list) -> int:
    options = parse(argv)
    run = scoressl_jax.open(options.run)
    plan = run.config.sampling
    sampler = options.sampler or plan.sampler
    if options.steps is not None and "sampling.steps" not in SAMPLERS[sampler].fields:
        raise UserError(f"--steps={options.steps}: sampler {sampler} takes as many as it needs: leave --steps out")
    labels, out = labels_of(options, plan, run.class_names), path_of(options.out, "--out")
    check_free(out)
    prepare_jax()
    use_cores([plan.batch_size])
    images = run.sample(
        labels, scale=options.scale, sampler=options.sampler, steps=options.steps, seed=options.seed, progress=True
    )
    if out.suffix == ".npz":
        write_npz(out, images=images, labels=labels, class_names=np.array(run.class_names))
    else:
        save_pngs(images, [run.class_names[label] for label in labels], out)
    print(f"{out}: {len(images):,} images of {', '.join(run.class_names[c] for c in dict.fromkeys(labels.tolist()))}")
    return 0
