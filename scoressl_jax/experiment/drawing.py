"""The stage that draws samples: what is not there yet, under a key for each image; and the same as PNG files."""

import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import samplers
from scoressl_jax.experiment.run import Run
from scoressl_jax.sampling.generate import generate, to_uint8
from scoressl_jax.sampling.inverse import shown


def drawn(run: Run) -> int:
    return len(run.samples.get("labels", ()))


def guides(config) -> tuple:
    """Stages whose networks draw the samples."""
    return ("score", "classifier") if config.sampling.scale else ("score",)


def sample(work) -> None:
    """Draw what is not there yet; the file comes last, because it is what says that this stage is done."""
    plan, started = work.config.sampling, time.perf_counter()
    parameters = tuple(work.params(name) for name in guides(work.config)) + (None,) * (not plan.scale)
    dataset = work.experiment.dataset if plan.task != "none" else None
    conditions = samplers.conditions(plan, work.experiment.class_names, dataset)
    before = kept_samples(work.run, conditions["labels"])
    try:
        images = generate(
            partial(samplers.guided_sampler, work.experiment),
            parameters,
            conditions,
            batch=plan.batch_size,
            seed=work.config.seed,
            stop=work.stop,
            first=len(before),
        )
    except UserError as error:
        raise UserError(f"{error} (config.sampling: scale, steps, tolerance)") from None
    images = np.concatenate([before, images]) if len(before) else images
    seconds = time.perf_counter() - started
    if len(before):
        seconds += work.run.results.get("samples", {}).get("seconds", 0)
    work.run.forget("samples", "generation")
    work.run.record(samples=sample_block(plan, len(images), seconds))
    restored = {}
    if "known" in conditions:
        originals = to_uint8(conditions["known"])
        restored = {"originals": originals, "given": shown(plan.task, originals, plan.hidden)}
    names = np.array(work.experiment.class_names)
    work.run.write_arrays("samples", images=images, labels=conditions["labels"], class_names=names, **restored)


def kept_samples(run: Run, labels: np.ndarray) -> np.ndarray:
    """Images that were drawn before, where the labels asked for begin with theirs."""
    images, known = run.samples.get("images", ()), run.samples.get("labels", ())
    return images if len(known) < len(labels) and np.array_equal(known, labels[: len(known)]) else ()


def sample_block(plan, count: int, seconds: float) -> dict:
    name = f"{plan.predictor}+{plan.corrector}" if plan.sampler == "predictor_corrector" else plan.sampler
    calls = samplers.network_calls(plan)
    return {
        "count": count,
        "sampler": name,
        **({"steps": plan.steps, "calls": calls} if calls else {}),
        "scale": plan.scale,
        **({"task": plan.task} if plan.task != "none" else {}),
        "seconds": round(seconds, 1),
    }


def wanted(experiment) -> int:
    plan = experiment.config.sampling
    return len(samplers.wanted_labels(plan, experiment.class_names)) if plan.task == "none" else plan.count


def write_pngs(work) -> None:
    if not work.first_process:
        return
    images, labels = work.run.samples["images"], work.run.samples["labels"]
    names = work.experiment.class_names
    work.run.remove("samples/png")
    save_pngs(images, [names[label] for label in labels], work.run.workdir / "samples" / "png")


def save_pngs(images: np.ndarray, names: list, folder: Path) -> None:
    """Images uint8 `[N, H, W, C]` as FOLDER/CLASS/INDEX.png."""
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        path = folder / str(name).replace("/", "_") / f"{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
