"""--mode=check: what a run would train and how long it would take, without writing anything."""

import time

import jax
import jax.numpy as jnp
from clu import parameter_overview

from scoressl_jax import build, jobs
from scoressl_jax.sampling.predictor_corrector import image_keys
from scoressl_jax.training.step import device_mesh, make_multi_update, replicated

TIMED_STEPS = 3


def check(config):
    """Print data, parameter counts, batch shapes, memory and a time estimate from a few timed steps."""
    experiment = build.build(config)
    data, split = experiment.dataset, experiment.split
    print(
        f"data        {data.name}: {len(data.x_train)} training images {data.image_shape}, "
        f"{len(split.labeled)} labelled, "
        f"{len(split.unlabeled)} unlabelled, {len(data.x_test)} test images, {data.num_classes} classes"
    )
    score_params = report_job(jobs.score_job(experiment))
    classifier_params = report_job(jobs.classifier_job(experiment, score_params))
    if jobs.can_judge(experiment):
        report_job(jobs.judge_job(experiment))
    seconds = time_sampling(experiment, (score_params, classifier_params))
    print(f"{'sample':<12}{config.sampling.count} images in {config.sampling.steps} steps: about {seconds:.0f} s")


def report_job(job):
    """Print a stage's figures and return its initial parameters."""
    mesh = device_mesh()
    run = make_multi_update(job.update, mesh)
    state, arrays, frozen = jax.device_put((job.init_state(), job.arrays, job.frozen), replicated(mesh))
    params = jax.tree.map(jnp.copy, state.params)
    parameters = parameter_overview.count_parameters(params)
    started = time.perf_counter()
    compiled = run.lower(state, arrays, frozen, job.indices(0, 0, 1), TIMED_STEPS, jax.random.key(0)).compile()
    compile_seconds, memory = time.perf_counter() - started, compiled.memory_analysis()
    state, _ = jax.block_until_ready(
        compiled(state, arrays, frozen, job.indices(0, 0, 1), TIMED_STEPS, jax.random.key(0))
    )
    started = time.perf_counter()
    jax.block_until_ready(compiled(state, arrays, frozen, job.indices(0, 0, 1), TIMED_STEPS, jax.random.key(0)))
    step = (time.perf_counter() - started) / TIMED_STEPS
    mebibytes = (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20 if memory else float("nan")
    batches = ", ".join(f"{name} {size}" for name, size in job.batch_sizes.items())
    print(
        f"{job.name:<12}{parameters:,} parameters, batch {batches}, {mebibytes:.0f} MiB a device, "
        f"{step * 1e3:.1f} ms a step, {job.steps} steps: about {step * job.steps + compile_seconds:.0f} s"
    )
    return params


def time_sampling(experiment, parameters):
    """Seconds that all images would take, from one guided score on one batch; compilation is not counted."""
    plan = experiment.config.sampling
    keys = image_keys(jax.random.key(0), 0, plan.batch_size)
    labels = jnp.arange(plan.batch_size) % experiment.num_classes
    short = build.guided_sampler(experiment, steps=TIMED_STEPS)
    run = jax.jit(short)
    jax.block_until_ready(run(parameters, keys, labels))
    started = time.perf_counter()
    jax.block_until_ready(run(parameters, keys, labels))
    batches = -(-plan.count // plan.batch_size)
    return (time.perf_counter() - started) / TIMED_STEPS * plan.steps * batches
