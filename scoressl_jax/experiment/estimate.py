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

from scoressl_jax.devices import device_mesh, replicated
from scoressl_jax.experiment import samplers
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Kind, Work
from scoressl_jax.training.loop import Job
from scoressl_jax.training.step import make_multi_update

TIMED_STEPS = 3
ODE_CALLS = 200  # about what the adaptive solver takes
AFFORDABLE = 2e11  # floating-point operations of a step that a CPU makes in a few seconds


class Rehearsal(Work):
    """Work without a run: parameters of earlier stages are of the right shapes, and zero."""

    def __init__(self, kind: Kind, experiment):
        super().__init__(kind, Run("/nonexistent"), experiment)
        self.known = {}

    def params(self, name: str):
        if name not in self.known:
            self.known[name] = zeros(self.kind.stage(name).job(self).init_state).params
        return self.known[name]


def check(kind: Kind, experiment) -> None:
    """Print data, parameter counts, batch shapes, memory and a time estimate from a few timed steps."""
    work = Rehearsal(kind, experiment)
    print(f"{'data':<14}{kind.described(experiment)}")
    for stage in work.stages():
        if stage.job:
            job = stage.job(work)  # which says what does not fit, also of weights that are taken as they are
            if stage.target(experiment) is None:
                print(f"{stage.name:<13} weights that are there already: nothing to train")
            else:
                work.known[stage.name] = report_job(job)
        elif stage.estimate:
            print(f"{stage.name:<13} {stage.estimate(work)}")


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 3 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def pace(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 10 else f"{seconds:.0f} s"


def cut(sizes: dict, factor: float) -> dict:
    """Batch sizes `{name: size}` divided by `factor`, each a multiple of the devices."""
    devices = jax.device_count()
    return {name: math.ceil(size / factor / devices) * devices for name, size in sizes.items()}


def affordable(lower, sizes: dict):
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


def flops_of(lowered) -> float:
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def report_job(job: Job):
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
        f"{job.name:<13} {parameter_overview.count_parameters(params):,} parameters, "
        f"batch {listed(job.batch_sizes)}, {memory(compiled, params, scale)}, {pace(step)} a step, "
        f"{job.steps} steps: about {duration(step * job.steps + compile_seconds)}"
        + (f" (timed on batch {listed(sizes)})" if scale > 1 else "")
    )
    return params


def listed(sizes: dict) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def memory(compiled, params, scale: float) -> str:
    """MiB a device of what a step keeps (parameters, averages, optimiser, data) and of its activations."""
    found = compiled.memory_analysis()
    if not found:
        return "memory unknown"
    gradients = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    activations = max(found.temp_size_in_bytes - gradients, 0) * scale + gradients
    kept = found.argument_size_in_bytes
    return f"{kept / 2**20:,.1f} + {activations / 2**20:,.1f} MiB (kept + activations) a device"


def sampling_line(work) -> str:
    """How long the samples would take, from a batch of guided and one of unguided scores; compiling not counted."""
    plan, experiment = work.config.sampling, work.experiment
    parameters = work.params("score"), work.params("classifier")
    count = len(samplers.wanted_labels(plan, experiment.class_names))
    calls = samplers.network_calls(plan) or ODE_CALLS
    guided = samplers.guided_share(plan, experiment.sde)
    seconds = guided * call_seconds(experiment, parameters, plan.scale) if guided else 0.0
    seconds += (1 - guided) * call_seconds(experiment, parameters, 0.0) if guided < 1 else 0.0
    total = seconds * calls * -(-count // plan.batch_size)
    what = f"{samplers.network_calls(plan) or 'some ' + str(ODE_CALLS)} network calls"
    return f"{count} images, {what} each: about {duration(total)}"


def call_seconds(experiment, parameters, scale: float) -> float:
    """Seconds that a score of one batch takes, with the classifier's gradient at every level or, scale 0, without."""
    config = experiment.config.copy_and_resolve_references()
    config.sampling.update(scale=float(scale), interval=())
    everywhere = dataclasses.replace(experiment, config=config)

    @jax.jit
    def run(parameters, x, labels):
        score_fn = samplers.guided_score(everywhere, parameters, labels)
        return jax.lax.fori_loop(0, TIMED_STEPS, lambda i, x: x + score_fn(x, jnp.full(len(x), 0.5)), x)

    def arguments(sizes):
        count = sizes["images"]
        return jnp.zeros((count, *experiment.image_shape)), jnp.arange(count) % experiment.num_classes

    size = config.sampling.batch_size
    lowered, scaled = affordable(lambda sizes: run.lower(parameters, *arguments(sizes)), {"images": size})
    compiled, rest = lowered.compile(), arguments({"images": lowered.args_info[0][1].shape[0]})
    jax.block_until_ready(compiled(parameters, *rest))
    started = time.perf_counter()
    jax.block_until_ready(compiled(parameters, *rest))
    return (time.perf_counter() - started) / TIMED_STEPS * scaled
