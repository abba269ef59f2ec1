"""Milliseconds of a training step alone and inside the compiled loop.

Both are measured in turns on the same data, batch 64, for DSM, CE, and CE + DLSM, on the main job's networks (with a
noisy classifier). Prints one row each: ms alone, ms in the loop, ratio (medians); a ratio above 1.1 is a regression.
"""

import statistics
import time
from collections.abc import Iterator

import jax
from ml_collections import ConfigDict

from scoressl_jax.devices import by_image, device_mesh, prepare_jax, replicated, use_cores
from scoressl_jax.experiment.build import build
from scoressl_jax.experiment.config import default_config, per_device
from scoressl_jax.experiment.jobs import classifier_job, score_job
from scoressl_jax.training.loop import Job
from scoressl_jax.training.step import make_multi_update

LOOP_STEPS, ROUNDS = 10, 7
ONLY_CE = dict(ce=1.0, ce_tau=0.0, dlsm=0.0, pseudo=0.0, pseudo_dlsm=0.0, denoising=0.0, temporal=0.0, prior=0.0)


def benchmark_config() -> ConfigDict:
    """The main job's, its classifier noisy and supervised."""
    config = default_config()
    config.regime = "supervised"
    classifier = config.classifier
    classifier.kind, classifier.batch_size = "noisy", 64
    classifier.terms.update(ONLY_CE)
    config.training.steps_per_call = LOOP_STEPS
    return config


def timed_jobs() -> Iterator[tuple[str, Job]]:
    """(name, Job) of the three losses."""
    config = benchmark_config()
    experiment = build(config)
    yield "DSM", score_job(experiment)
    score_params = score_job(experiment).init_state().params
    yield "CE", classifier_job(experiment, score_params)
    config.classifier.terms.dlsm = 1.0
    yield "CE+DLSM", classifier_job(experiment, score_params)


def time_step(job: Job) -> tuple[float, float]:
    """Median (seconds of a step called alone, seconds of a step in the loop), in turns."""
    mesh = device_mesh()
    key, indices = jax.random.key(0), job.indices(0, 0, LOOP_STEPS)
    state, arrays, frozen, key = jax.device_put((job.init_state(), job.arrays, job.frozen, key), replicated(mesh))
    alone, loop = jax.jit(job.update, donate_argnums=0), make_multi_update(job.update, mesh)
    # Split as the loop splits its batches.
    first = jax.device_put({name: values[0] for name, values in indices.items()}, by_image(mesh))
    times = {"alone": [], "loop": []}
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        for _ in range(LOOP_STEPS):
            state, logs = alone(state, arrays, frozen, first, key)
        jax.block_until_ready(state)
        times["alone"].append((time.perf_counter() - started) / LOOP_STEPS)
        started = time.perf_counter()
        state, logs = jax.block_until_ready(loop(state, arrays, frozen, indices, LOOP_STEPS, key))
        times["loop"].append((time.perf_counter() - started) / LOOP_STEPS)
    return statistics.median(times["alone"][1:]), statistics.median(times["loop"][1:])


def main() -> int:
    prepare_jax()
    use_cores(per_device(benchmark_config()))
    print(
        f"{'loss':<10}{'alone ms':>10}{'loop ms':>10}{'ratio':>8}"
        f"   ({jax.device_count()} {jax.default_backend()} device(s))"
    )
    for name, job in timed_jobs():
        alone, loop = time_step(job)
        print(f"{name:<10}{alone * 1e3:>10.1f}{loop * 1e3:>10.1f}{loop / alone:>8.2f}", flush=True)
    return 0
