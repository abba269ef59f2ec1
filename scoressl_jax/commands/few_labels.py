"""scoressl few_labels --config=FILE --output=DIR [--labels=20,100] [--methods=A,B] [--seeds=0,1,2] [--minutes=2]

How well methods for few labels, and what people use instead, label one data set: labels x methods x seeds, each
trained for the same wall time on this machine, then asked once about the test images. A seed draws labels of its own.
Writes DIR/few_labels.json, .md and .png, after every cell: run the same command again to go on. FILE and
--config.FIELD=VALUE say which data, which network and which hyperparameters, as for scoressl run. In regime pu labels
are of positives, and methods those of positive and unlabelled images.
"""

import os
import time
from argparse import Namespace

import jax

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.commands.run import parse as parse_config
from scoressl_jax.devices import device_mesh, prepare_jax, replicated, use_cores
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.adopt import adopt
from scoressl_jax.experiment.choice import NETWORKS, configured, fitted_instead
from scoressl_jax.experiment.config import CHOICES, FIELDS, per_device
from scoressl_jax.experiment.fields import leave_behind
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.jobs import teacher_job
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.speaker import opened
from scoressl_jax.experiment.stages import Work, execute
from scoressl_jax.experiment.teacher import AUTO, has_network
from scoressl_jax.files import check_writable, path_of, read_or_empty, write_bytes, write_json, write_text
from scoressl_jax.methods.baselines import BASELINES
from scoressl_jax.methods.table import METHODS, PU_METHODS
from scoressl_jax.report.few_labels import chart, markdown
from scoressl_jax.training.step import make_multi_update

TIMED = 10  # steps of a call by which a method's pace is measured, three times


def parse(argv: list) -> tuple[Namespace, object]:
    """(options, config)."""
    parser = Parser("scoressl few_labels", description=__doc__)
    parser.add_argument("--output", required=True, metavar="DIR", help="directory of the table and its runs")
    parser.add_argument("--labels", default="", metavar="N,N", help="numbers of labelled images; the config's own")
    words = f"of {','.join(methods_of('ssl'))}; in regime pu of {','.join(methods_of('pu'))}"
    parser.add_argument("--methods", default="", metavar="A,B", help=words)
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N")
    parser.add_argument("--minutes", type=float, default=2.0, help="of wall time for each cell")
    parser.add_argument("--steps", type=int, default=0, help="train for so many steps, whatever time they take")
    options, rest = parser.parse_known_args(argv)
    config = parse_config([*rest, f"--workdir={options.output}", "--mode=check"])[0]
    known = methods_of(config.regime)
    options.labels = numbers("--labels", options.labels) if options.labels else [config.data[count_of(config)]]
    usual = [method for method in known if not has_network(method)]  # generative ones are asked for by name
    options.seeds = numbers("--seeds", options.seeds)
    options.methods = options.methods.split(",") if options.methods else usual
    strange = [method for method in options.methods if method not in known]
    if strange:
        parser.error(f"--methods={strange[0]}: choose among {','.join(known)}")
    if not 0 < options.minutes < float("inf"):
        parser.error(f"--minutes={options.minutes}: it must be greater than 0")
    return options, config


def methods_of(regime: str) -> tuple:
    """Positives and unlabelled images are not the two classes that a baseline is to tell apart."""
    return tuple(PU_METHODS) if regime == "pu" else (AUTO, *METHODS, *BASELINES)


def count_of(config) -> str:
    """The field of config.data that says how many images are labelled."""
    return "num_positive" if config.regime == "pu" else "num_labels"


def numbers(flag: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"command line: {flag}={text}: give whole numbers with commas between, as in 20,100")
    return [int(part) for part in parts]


def of_cell(config, labels: int, seed: int, method: str):
    """The config of one cell: labels of the seed's own, the method, and nothing that it does not read."""
    config = config.copy_and_resolve_references()
    config.seed = config.data.split_seed = seed
    config.data[count_of(config)] = labels
    config.teacher.method = method
    leave_behind(config, FIELDS, CHOICES, {"teacher.method"})
    return config


def steps_in(experiment, seconds: float) -> int:
    """How many steps of the teacher fit into a time: the best of three calls says how long one takes. Of a method that
    is yet to be chosen, the first candidate's."""
    if experiment.config.teacher.method == AUTO:
        experiment = configured(experiment, next(iter(NETWORKS.values())))
    job, mesh, paces = teacher_job(experiment, prior=0.5), device_mesh(), []  # any prior takes the same time
    run, count, key = make_multi_update(job.update, mesh), min(TIMED, job.steps_per_call), jax.random.key(0)
    state, arrays = jax.device_put((job.init_state(), job.arrays), replicated(mesh))
    for _ in range(4):  # the first compiles
        started = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, arrays, (), job.indices(0, 0, count), count, key))
        paces.append((time.perf_counter() - started) / count)
    return max(int(seconds / min(paces[1:])), 1)


def with_network(config, seconds: float, steps: int, folder) -> dict:
    """Train a method and ask it about the test images."""
    run, kind = Run(folder), IMAGES
    if run.exists:
        config.teacher.steps = run.config["teacher"]["steps"]
    else:
        config.teacher.steps = steps or steps_in(kind.build(config), seconds)
    experiment = kind.build(config, run.config if run.exists else None)
    work = Work(kind, run, experiment, mode="train_teacher")
    with run.locked():
        adopt(work, "scoressl few_labels")
        execute(kind, "train_teacher", work)
    p = opened(run, config, experiment.num_classes).probabilities(experiment.dataset.x_test)
    block = run.results["teacher"]
    found = {name: block[name] for name in ("seconds", "steps", "unlabeled_accuracy", "speaks", "why") if name in block}
    return found | {"accuracy": float((p.argmax(-1) == experiment.dataset.y_test).mean())}


def with_baseline(config, name: str, seconds: float) -> dict:
    experiment = IMAGES.build(config)
    data, found = experiment.dataset, fitted_instead(experiment, name, seconds)
    block = {"seconds": found.seconds, "chosen": found.chosen}
    if found.cross_validated:
        block |= {"cross_validated": found.cross_validated.share, "folds": found.cross_validated.folds}
    return block | {"accuracy": float((found.predict(data.x_test).argmax(-1) == data.y_test).mean())}


def save(output, known: dict, title: str) -> None:
    cells = list(known["cells"].values())
    write_json(output / "few_labels.json", known)
    write_text(output / "few_labels.md", f"{title}\n\n{markdown(cells)}\n")
    write_bytes(output / "few_labels.png", chart(cells, title))


def main(argv: list) -> int:
    options, config = parse(argv)
    output = path_of(options.output, "--output")
    check_writable(output)
    prepare_jax()
    use_cores(per_device(config))
    known = {"cells": {}, "cores": os.cpu_count()} | read_or_empty(output / "few_labels.json")
    spent = f"{options.steps} steps" if options.steps else f"{options.minutes:g} minutes"
    each = {spent, *(cell.get("spent", spent) for cell in known["cells"].values())}  # other calls may have had others
    title = f"{config.data.name}, {' or '.join(sorted(each))} each"
    cells = [(n, m, s) for s in options.seeds for n in options.labels for m in options.methods]
    for number, (labels, method, seed) in enumerate(cells, 1):
        name = f"{config.data.name}-{labels}-{method}-{seed}"
        print(f"cell {number} of {len(cells)}: {name}", flush=True)
        made = known["cells"].get(name, {}).get("spent", spent)
        if made != spent:
            raise UserError(f"--output={output}: cell {name} is there with {made}, not {spent}: name another directory")
        if name not in known["cells"]:
            if method not in BASELINES:
                cell = of_cell(config, labels, seed, method)
                found = with_network(cell, 60 * options.minutes, options.steps, output / "runs" / name)
            else:
                found = with_baseline(of_cell(config, labels, seed, "none"), method, 60 * options.minutes)
            known["cells"][name] = {"labels": labels, "method": method, "seed": seed, "spent": spent, **found}
            save(output, known, title)
        print(f"{name}: {100 * known['cells'][name]['accuracy']:.2f} % of test images are right", flush=True)
    print((output / "few_labels.md").read_text())
    return 0
