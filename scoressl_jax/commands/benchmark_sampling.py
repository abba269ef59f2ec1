"""Speed of each sampler, and with RUN how good its images are.

Without RUN, guided samples of untrained networks are timed: those of the main job on 8x8 digits, and on images of
MNIST's size. With the directory of a finished run, its networks draw COUNT images with every sampler, and its judge
says how many show the class that was asked for.
"""

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.devices import by_image, device_mesh, prepare_jax, replicated, use_cores
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.build import Experiment, build, open_experiment
from scoressl_jax.experiment.config import config_of_run, default_config, per_device
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.jobs import classifier_init
from scoressl_jax.experiment.judge import judge_of_run
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.samplers import guided_sampler, guided_score, network_calls
from scoressl_jax.experiment.stages import Work
from scoressl_jax.sampling.generate import check_finite, to_uint8
from scoressl_jax.sampling.loop import draw_prior, image_keys
from scoressl_jax.sampling.ode import flow
from scoressl_jax.studies.kinds import kind_of

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


def with_plan(experiment: Experiment, plan: dict) -> Experiment:
    """The experiment with a sampler of PLANS; of its own sampling fields number, batch and scale count."""
    config, own = experiment.config.copy_and_resolve_references(), experiment.config.sampling
    config.sampling.update(default_config().sampling)
    config.sampling.update(count=own.count, batch_size=own.batch_size, scale=own.scale, **plan)
    return dataclasses.replace(experiment, config=config)


def compiled_sampler(experiment: Experiment, parameters: tuple) -> Callable:
    """`(first index) -> images [batch, ...]` in [0, 1], compiled ahead, as the program's own samples are drawn."""
    mesh, size = device_mesh(), experiment.config.sampling.batch_size
    split, sample = by_image(mesh), guided_sampler(experiment)

    def run(parameters, key, indices):
        indices = jax.lax.with_sharding_constraint(indices, split)
        x = sample(parameters, image_keys(key, indices), indices % experiment.num_classes)
        return jax.lax.with_sharding_constraint(x, replicated(mesh))

    placed = jax.device_put(parameters, replicated(mesh)), jax.random.key(experiment.config.seed)
    compiled = jax.jit(run).lower(*placed, np.arange(size)).compile()
    return lambda start: np.asarray(compiled(*placed, np.arange(start, start + size)))


def ode_calls(experiment: Experiment, parameters: tuple) -> float:
    """Network calls that the adaptive solver needs for an image, the mean over one batch."""
    s, sde, count = experiment.config.sampling, experiment.sde, experiment.config.sampling.batch_size

    @jax.jit
    def run(parameters, key):
        score_fn = guided_score(experiment, parameters, jnp.arange(count) % experiment.num_classes)
        x = draw_prior(image_keys(key, jnp.arange(count)), sde, experiment.image_shape, 1.0)
        return flow(score_fn, sde, x, 1.0, sde.sampling_eps, tolerance=s.tolerance)[1]

    return float(run(parameters, jax.random.key(experiment.config.seed)).mean())


def timed(experiment: Experiment, parameters: tuple, count: int) -> tuple:
    """(images [count, ...], seconds an image), compilation not counted."""
    size, draw = experiment.config.sampling.batch_size, compiled_sampler(experiment, parameters)
    started = time.perf_counter()
    images = np.concatenate([draw(start) for start in range(0, count, size)])
    check_finite(images, 0)
    return to_uint8(images)[:count], (time.perf_counter() - started) / len(images)


def row(name: str, calls: float, seconds: float, first: float, agreement: float | None = None) -> None:
    shown = "" if agreement is None else f"{100 * agreement:>12.1f}"
    print(f"{name:<34}{calls:>8.0f}{1 / seconds:>12.2f}{first / seconds:>10.1f}{shown}", flush=True)


def header(what: str, judged: bool) -> None:
    print(f"{what} ({jax.device_count()} {jax.default_backend()} device(s))")
    print(f"{'sampler':<34}{'calls':>8}{'images/s':>12}{'speed':>10}{'agreement %' if judged else '':>12}")


def opened(path: str) -> tuple:
    """(run, experiment, parameters) of a run whose networks are trained to their ends."""
    run = Run.open(path)
    if kind_of(run.config) is not IMAGES:
        raise UserError(f"{path} is a study of the two moons, which has no images: name a run on images")
    use_cores(per_device(config_of_run(run)))  # before anything else touches a device
    work = Work(IMAGES, run, open_experiment(run))
    work.require(IMAGES.stage("evaluation"))  # which needs both networks
    return run, work.experiment, (run.params("score"), run.params("classifier"))


def of_run(path: str, count: int) -> None:
    """Speed and class agreement of every sampler with the networks of a run."""
    run, experiment, parameters = opened(path)
    judge, config = judge_of_run(path), experiment.config
    labels, first = np.arange(count) % experiment.num_classes, None
    header(f"{run.workdir}: {count} images, scale {config.sampling.scale:g}, judge: {judge.name}", True)
    for name, plan in PLANS.items():
        planned = with_plan(experiment, plan)
        images, seconds = timed(planned, parameters, count)
        agreement = (judge.outputs(images, config.evaluation.batch_size)["logits"].argmax(-1) == labels).mean()
        first = first or seconds
        calls = network_calls(planned.config.sampling) or ode_calls(planned, parameters)
        row(name, calls, seconds, first, agreement)


def untrained(shape: tuple) -> tuple:
    """(the main job's experiment on images of another shape, its networks as they are initialised)."""
    config = default_config()
    config.sampling.batch_size = 64
    use_cores(per_device(config))
    experiment = dataclasses.replace(build(config), image_shape=shape)
    key = jax.random.key(config.seed)
    score = experiment.score_network.init(key, *experiment.example_inputs())
    return experiment, (score, classifier_init(experiment)(key))


def of_untrained() -> None:
    for what, shape in (("digits, 8x8", (8, 8, 1)), ("MNIST's size, 28x28", (28, 28, 1))):
        experiment, parameters = untrained(shape)
        first = None
        header(what, False)
        for name, plan in PLANS.items():
            if plan["sampler"] == "ode":
                continue  # untrained networks say nothing of how many steps it takes
            calls = network_calls(with_plan(experiment, plan).config.sampling)
            short = max(2, plan["steps"] * TIMED_CALLS // max(calls, TIMED_CALLS))
            cut = with_plan(experiment, plan | {"steps": short})
            drawer, size = compiled_sampler(cut, parameters), cut.config.sampling.batch_size
            drawer(0)
            started = time.perf_counter()
            drawer(0)
            scale = calls / network_calls(cut.config.sampling)
            seconds = (time.perf_counter() - started) / size * scale
            first = first or seconds
            row(name, calls, seconds, first)


def main(run: str | None, count: int) -> int:
    prepare_jax()
    if run is None:
        of_untrained()
    else:
        of_run(run, count)
    return 0
