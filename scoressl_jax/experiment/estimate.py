"""--mode=check: what a run would train, with how much memory and how long, without writing anything.

Steps are timed on full batches where a step is small enough; otherwise on cut ones, and the figures are scaled up with
the floating-point operations that XLA counts.
"""

import dataclasses
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.class_prior import is_estimated
from scoressl_jax.experiment.init_from import take_score
from scoressl_jax.training.step import device_mesh, make_multi_update, replicated

TIMED_STEPS = 3
ODE_CALLS = 200  # about what the adaptive solver takes
AFFORDABLE = 2e11  # floating-point operations of a step that a CPU makes in a few seconds


def check(config):
    """Print data, parameter counts, batch shapes, memory and a time estimate from a few timed steps."""
    experiment = build.build(config)
    data, split = experiment.dataset, experiment.split
    print(
        f"data          {data.name}: {len(data.x_train)} training images {data.image_shape}, "
        f"{len(split.labeled)} labelled, "
        f"{len(split.unlabeled)} unlabelled, {len(data.x_test)} test images, {data.num_classes} classes"
    )
    if config.score.init_from:
        score_params, _ = take_score(experiment)
    else:
        score_params = report_job(jobs.score_job(experiment))
    if is_estimated(config):
        for half in (0, 1):
            report_job(jobs.positive_job(experiment, half))
    classifier_params = report_job(jobs.classifier_job(experiment, score_params))
    if jobs.can_judge(experiment):
        report_job(jobs.judge_job(experiment))
    seconds = time_sampling(experiment, (score_params, classifier_params))
    what = f"{build.network_calls(config.sampling) or 'some ' + str(ODE_CALLS)} network calls"
    print(f"{'sample':<14}{config.sampling.count} images, {what} each: about {duration(seconds)}")


def duration(seconds):
    """Seconds, minutes, hours or days, whichever reads best."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 3 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def pace(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 10 else f"{seconds:.0f} s"


def cut(sizes, factor):
    """Batch sizes `{name: size}` divided by `factor`, each a multiple of the devices."""
    devices = jax.device_count()
    return {name: math.ceil(size / factor / devices) * devices for name, size in sizes.items()}


def affordable(lower, sizes):
    """(lowered program, scale) of `lower(sizes)`, or of its smaller copy where a CPU would take too long."""
    lowered, scale = lower(sizes), 1.0
    flops = flops_of(lowered)
    if jax.default_backend() == "cpu" and flops > AFFORDABLE:
        lowered = lower(cut(sizes, flops / AFFORDABLE))
        scale = flops / flops_of(lowered)
    return lowered, scale


def zeros(make):
    """What make() would return, with zeros in place of its values; nothing is computed."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(make))


def flops_of(lowered):
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def report_job(job):
    """Print a stage's figures and return parameters of its shapes."""
    mesh, key = device_mesh(), jax.random.key(0)
    sharding = replicated(mesh)
    # Zeros take as long as drawn parameters, and need no compiled initialisation.
    state = jax.device_put(zeros(job.init_state), sharding)
    arrays, frozen = jax.device_put((job.arrays, job.frozen), sharding)
    run = make_multi_update(job.update, mesh)

    def arguments(sizes):
        return arrays, frozen, dataclasses.replace(job, batch_sizes=sizes).indices(0, 0, 1), TIMED_STEPS, key

    lowered, scale = affordable(lambda sizes: run.lower(state, *arguments(sizes)), job.batch_sizes)
    params = jax.tree.map(jnp.copy, state.params)
    started = time.perf_counter()
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - started
    sizes = {name: shape.shape[1] for name, shape in lowered.args_info[0][3].items()}
    rest = arguments(sizes)
    state, _ = jax.block_until_ready(compiled(state, *rest))
    started = time.perf_counter()
    jax.block_until_ready(compiled(state, *rest))
    step = (time.perf_counter() - started) / TIMED_STEPS * scale
    print(
        f"{job.name:<14}{parameter_overview.count_parameters(params):,} parameters, "
        f"batch {described(job.batch_sizes)}, {memory(compiled, params, scale)}, {pace(step)} a step, "
        f"{job.steps} steps: about {duration(step * job.steps + compile_seconds)}"
        + (f" (timed on batch {described(sizes)})" if scale > 1 else "")
    )
    return params


def described(sizes):
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def memory(compiled, params, scale):
    """MiB a device of what a step keeps (parameters, averages, optimiser, data) and of its activations."""
    found = compiled.memory_analysis()
    if not found:
        return "memory unknown"
    gradients = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    activations = max(found.temp_size_in_bytes - gradients, 0) * scale + gradients
    kept = found.argument_size_in_bytes
    return f"{kept / 2**20:,.1f} + {activations / 2**20:,.1f} MiB (kept + activations) a device"


def time_sampling(experiment, parameters):
    """Seconds that all images would take, from one guided score on one batch; compilation is not counted."""
    plan, shape = experiment.config.sampling, experiment.dataset.image_shape

    @jax.jit
    def run(parameters, x, labels):
        score_fn = build.guided_score(experiment, parameters, labels)
        return jax.lax.fori_loop(0, TIMED_STEPS, lambda i, x: x + score_fn(x, jnp.full(len(x), 0.5)), x)

    def arguments(sizes):
        count = sizes["images"]
        return jnp.zeros((count, *shape)), jnp.arange(count) % experiment.num_classes

    lowered, scale = affordable(lambda sizes: run.lower(parameters, *arguments(sizes)), {"images": plan.batch_size})
    compiled, rest = lowered.compile(), arguments({"images": lowered.args_info[0][2].shape[0]})
    jax.block_until_ready(compiled(parameters, *rest))
    started = time.perf_counter()
    jax.block_until_ready(compiled(parameters, *rest))
    batches = -(-plan.count // plan.batch_size)
    calls = build.network_calls(plan) or ODE_CALLS
    return (time.perf_counter() - started) / TIMED_STEPS * calls * batches * scale
