"""python -m scoressl_jax.benchmark sampling [RUN] [COUNT]: speed of each sampler, and with RUN how good its images are.

Without RUN, guided samples of untrained networks are timed: those of the main job on 8x8 digits, and on images of
MNIST's size. With the directory of a finished run, its networks draw COUNT images (default 500) with every sampler, and
its judge says how many show the class that was asked for.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.data.dataset import Dataset
from scoressl_jax.devices import by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.init_from import take_score
from scoressl_jax.experiment.judge import judge_of_run
from scoressl_jax.main import config_of_run, prepare_jax, use_cores
from scoressl_jax.sampling.generate import check_finite, to_uint8
from scoressl_jax.sampling.loop import draw_prior, image_keys
from scoressl_jax.training.checkpoints import read_averages

TIMED_CALLS = 40  # of untrained networks: a chain of more is cut to about as many and its time scaled up
LANGEVIN = dict(sampler="predictor_corrector", corrector="langevin")
PLANS = {
    "predictor-corrector, 1,000 steps": dict(**LANGEVIN, steps=1000),
    "reverse diffusion, 50 steps": dict(sampler="predictor_corrector", corrector="none", steps=50),
    "ancestral, 50 steps": dict(sampler="predictor_corrector", corrector="none", predictor="ancestral", steps=50),
    "DDIM, 25 steps": dict(sampler="ddim", steps=25),
    "DDIM, eta 1, 50 steps": dict(sampler="ddim", eta=1.0, steps=50),
    "Heun, 12 steps": dict(sampler="heun", steps=12),
    "DPM-Solver++, 10 steps": dict(sampler="dpm_solver", steps=10),
    "DPM-Solver++, 20 steps": dict(sampler="dpm_solver", steps=20),
    "adaptive ODE, tolerance 0.001": dict(sampler="ode", tolerance=1e-3),
}


def with_plan(experiment, plan):
    """The experiment with a sampler of PLANS; of its own sampling fields number, batch and scale count."""
    config, own = experiment.config.copy_and_resolve_references(), experiment.config.sampling
    config.sampling.update(default_config().sampling)
    config.sampling.update(count=own.count, batch_size=own.batch_size, scale=own.scale, **plan)
    return dataclasses.replace(experiment, config=config)


def compiled_sampler(experiment, parameters):
    """`(first index) -> images [batch, ...]` in [0, 1], compiled ahead, as the program's own samples are drawn."""
    mesh, size = device_mesh(), experiment.config.sampling.batch_size
    split, sample = by_image(mesh), build.guided_sampler(experiment)

    def run(parameters, key, indices):
        indices = jax.lax.with_sharding_constraint(indices, split)
        x = sample(parameters, image_keys(key, indices), indices % experiment.num_classes)
        return jax.lax.with_sharding_constraint(x, replicated(mesh))

    placed = jax.device_put(parameters, replicated(mesh)), jax.random.key(experiment.config.seed)
    compiled = jax.jit(run).lower(*placed, np.arange(size)).compile()
    return lambda start: np.asarray(compiled(*placed, np.arange(start, start + size)))


def ode_calls(experiment, parameters):
    """Network calls that the adaptive solver needs for an image, the mean over one batch."""
    from scoressl_jax.sampling.ode import flow

    s, sde, count = experiment.config.sampling, experiment.sde, experiment.config.sampling.batch_size

    @jax.jit
    def run(parameters, key):
        score_fn = build.guided_score(experiment, parameters, jnp.arange(count) % experiment.num_classes)
        x = draw_prior(image_keys(key, jnp.arange(count)), sde, experiment.dataset.image_shape, 1.0)
        return flow(score_fn, sde, x, 1.0, sde.sampling_eps, s.tolerance)[1]

    return float(run(parameters, jax.random.key(experiment.config.seed)).mean())


def timed(experiment, parameters, count):
    """(images [count, ...], seconds an image), compilation not counted."""
    size, draw = experiment.config.sampling.batch_size, compiled_sampler(experiment, parameters)
    started = time.perf_counter()
    images = np.concatenate([draw(start) for start in range(0, count, size)])
    check_finite(images, 0)
    return to_uint8(images)[:count], (time.perf_counter() - started) / len(images)


def row(name, calls, seconds, first, agreement=None):
    shown = "" if agreement is None else f"{100 * agreement:>12.1f}"
    print(f"{name:<34}{calls:>8.0f}{1 / seconds:>12.2f}{first / seconds:>10.1f}{shown}", flush=True)


def header(what, judged):
    print(f"{what} ({jax.device_count()} {jax.default_backend()} device(s))")
    print(f"{'sampler':<34}{'calls':>8}{'images/s':>12}{'speed':>10}{'agreement %' if judged else '':>12}")


def trained(workdir, stage, steps):
    """Averaged parameters of a finished stage."""
    step, params = read_averages(f"{workdir}/checkpoints/{stage}")
    if step != steps:
        raise UserError(f"{workdir}: stage {stage} is not finished ({step} of {steps} steps): finish the run first")
    return params


def of_run(workdir, count):
    """Speed and class agreement of every sampler with the networks of a run."""
    if not Path(workdir, "config.json").is_file():
        raise UserError(f"{workdir} is no run: name the directory of a finished one")
    config = config_of_run(workdir)
    use_cores(config)  # before anything else touches a device
    judge, experiment = judge_of_run(workdir), build.build(config)
    score = take_score(experiment)[0] if config.score.init_from else trained(workdir, "score", config.score.steps)
    parameters = score, trained(workdir, "classifier", config.classifier.steps)
    labels, first = np.arange(count) % experiment.num_classes, None
    header(f"{workdir}: {count} images, scale {config.sampling.scale:g}, judge: {judge.name}", True)
    for name, plan in PLANS.items():
        planned = with_plan(experiment, plan)
        images, seconds = timed(planned, parameters, count)
        agreement = (judge.outputs(images, config.evaluation.batch_size)["logits"].argmax(-1) == labels).mean()
        first = first or seconds
        calls = build.network_calls(planned.config.sampling) or ode_calls(planned, parameters)
        row(name, calls, seconds, first, agreement)


def untrained(shape):
    """The main job's experiment on images of another shape, with networks as they are initialised."""
    config = default_config()
    config.sampling.batch_size = 64
    use_cores(config)
    experiment = build.build(config)
    if shape != experiment.dataset.image_shape:
        blank, y = np.zeros((20, *shape), np.uint8), np.arange(20, dtype=np.int32) % 10
        dataset = Dataset("blank", blank, y, blank, y, experiment.dataset.class_names)
        experiment = dataclasses.replace(experiment, dataset=dataset)
    score = jobs.score_job(experiment).init_state().params
    return experiment, (score, jobs.classifier_job(experiment, score).init_state().params)


def of_untrained():
    for what, shape in (("digits, 8x8", (8, 8, 1)), ("MNIST's size, 28x28", (28, 28, 1))):
        experiment, parameters = untrained(shape)
        first = None
        header(what, False)
        for name, plan in PLANS.items():
            if plan["sampler"] == "ode":
                continue  # untrained networks say nothing of how many steps it takes
            calls = build.network_calls(with_plan(experiment, plan).config.sampling)
            short = max(2, plan["steps"] * TIMED_CALLS // max(calls, TIMED_CALLS))
            cut = with_plan(experiment, plan | {"steps": short})
            drawer, size = compiled_sampler(cut, parameters), cut.config.sampling.batch_size
            drawer(0)
            started = time.perf_counter()
            drawer(0)
            scale = calls / build.network_calls(cut.config.sampling)
            seconds = (time.perf_counter() - started) / size * scale
            first = first or seconds
            row(name, calls, seconds, first)


def main(argv):
    prepare_jax()
    if len(argv) > 2 or (len(argv) == 2 and not (argv[1].isdecimal() and int(argv[1]))):
        raise UserError("usage: python -m scoressl_jax.benchmark sampling [RUN] [COUNT]")
    of_run(argv[0], int(argv[1]) if argv[1:] else 500) if argv else of_untrained()
    return 0
