"""python -m scoressl_jax.benchmark train: milliseconds of a training step alone and inside the compiled loop.
(`benchmark moons` is in moons/benchmark.py, `sampling` in sampling_benchmark.py, `metrics` in evaluation/benchmark.py.)

Both are measured in turns on the same data, batch 64, for DSM, CE, and CE + DLSM, on the main job's networks (with a
noisy classifier). Prints one row each: ms alone, ms in the loop, ratio (medians); a ratio above 1.1 is a regression.
"""

import statistics
import sys
import time

import jax

from scoressl_jax.devices import by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.config import default_config
from scoressl_jax.main import prepare_jax, use_cores
from scoressl_jax.training.step import make_multi_update

LOOP_STEPS, ROUNDS = 10, 7
ONLY_CE = dict(ce=1.0, ce_tau=0.0, dlsm=0.0, pseudo=0.0, pseudo_dlsm=0.0, denoising=0.0, temporal=0.0, prior=0.0)


def benchmark_config():
    config = default_config()
    config.regime = "supervised"
    classifier = config.classifier
    classifier.kind, classifier.batch_size = "noisy", 64
    classifier.terms.update(ONLY_CE)
    config.training.steps_per_call = LOOP_STEPS
    return config


def timed_jobs():
    """(name, Job) of the three losses."""
    config = benchmark_config()
    experiment = build.build(config)
    yield "DSM", jobs.score_job(experiment)
    score_params = jobs.score_job(experiment).init_state().params
    yield "CE", jobs.classifier_job(experiment, score_params)
    config.classifier.terms.dlsm = 1.0
    yield "CE+DLSM", jobs.classifier_job(experiment, score_params)


def time_step(job):
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


def main(argv):
    what, rest = argv[:1], argv[1:]
    if what == ["sampling"]:
        from scoressl_jax.commands import benchmark_sampling as sampling_benchmark

        return sampling_benchmark.main(rest)
    if what == ["metrics"]:
        from scoressl_jax.commands import benchmark_metrics as benchmark

        return benchmark.main(rest)
    if what not in (["train"], ["moons"]) or rest:
        raise UserError("usage: python -m scoressl_jax.benchmark train, moons, sampling or metrics")
    if what == ["moons"]:
        from scoressl_jax.commands import benchmark_moons as benchmark

        return benchmark.main()
    prepare_jax()
    use_cores(benchmark_config())
    print(
        f"{'loss':<10}{'alone ms':>10}{'loop ms':>10}{'ratio':>8}"
        f"   ({jax.device_count()} {jax.default_backend()} device(s))"
    )
    for name, job in timed_jobs():
        alone, loop = time_step(job)
        print(f"{name:<10}{alone * 1e3:>10.1f}{loop * 1e3:>10.1f}{loop / alone:>8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"scoressl_jax: {error}")
