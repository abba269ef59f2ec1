"""The one training loop: resume, compiled calls, metrics, progress, checkpoints, finite check, signals."""

import sys
import time
from dataclasses import dataclass

import jax
import numpy as np
from tqdm import tqdm

from scoressl_jax.devices import device_mesh, replicated
from scoressl_jax.errors import Diverged, Interrupted
from scoressl_jax.training.checkpoints import Checkpoints
from scoressl_jax.training.metrics import MetricsLog
from scoressl_jax.training.step import batch_indices, make_multi_update


@dataclass(frozen=True)
class Job:
    """What one stage trains. pools and batch_sizes name the batch's index arrays; see step.py for the rest."""

    name: str
    update: object
    init_state: object  # () -> TrainState
    arrays: dict
    frozen: object
    pools: dict  # name -> indices into the training images, [P]
    batch_sizes: dict
    steps: int
    seed: int
    steps_per_call: int
    checkpoint_every: int
    max_rollbacks: int
    remedy: str  # what helps where it diverges, in the words of who made the job
    measure: object = None  # (ema_params, frozen) -> {name: scalar}, logged with the last step of each call
    between: object = None  # (state, arrays) -> state, before each of the steps `rounds`, counted from 0
    rounds: tuple = ()

    def indices(self, state_step, attempt, count):
        """Index arrays `[steps_per_call, batch]` for a call of `count` steps, the rest zero."""
        out = {}
        for stream, (name, pool) in enumerate(sorted(self.pools.items())):
            batch = self.batch_sizes[name]
            out[name] = np.zeros((self.steps_per_call, batch), np.int32)
            out[name][:count] = batch_indices(pool, batch, self.seed + 7919 * attempt, stream, state_step, count)
        return out


def restore_or_init(job, checkpoints, sharding):
    state = jax.jit(job.init_state, out_shardings=sharding)()
    return checkpoints.restore(state) or state


def train(job, workdir, stop):
    """Train `job` to its last step and return the final state.

    Resumes from the newest readable checkpoint under workdir/checkpoints/NAME. Raises Diverged at a value that is not
    finite once `max_rollbacks` rollbacks are used up, and Interrupted after a checkpoint when a signal arrived.
    """
    mesh = device_mesh()
    sharding = replicated(mesh)
    run = make_multi_update(job.update, mesh)
    arrays, frozen = jax.device_put((job.arrays, job.frozen), sharding)
    measure = jax.jit(job.measure, out_shardings=sharding) if job.measure else lambda *_: {}
    checkpoints = Checkpoints(f"{workdir}/checkpoints/{job.name}")
    state = restore_or_init(job, checkpoints, sharding)
    step, attempt = int(state.step), int(state.attempt)
    if step >= job.steps:
        if jax.process_index() == 0:
            print(f"{job.name} is trained: {checkpoints.directory}")
        checkpoints.close()
        return state
    log = MetricsLog(workdir, job.name, step)
    started, recent = time.perf_counter(), []
    if checkpoints.latest_step() is None:
        checkpoints.save(state, float("inf"))
    try:
        with progress_bar(job, step) as bar:
            bar.set_postfix_str("compiling")
            while step < job.steps:
                if step in job.rounds:
                    state = jax.device_put(job.between(state, arrays), sharding)
                until_checkpoint = job.checkpoint_every - step % job.checkpoint_every
                until_round = min((n - step for n in job.rounds if n > step), default=job.steps)
                count = min(job.steps_per_call, until_checkpoint, until_round, job.steps - step)
                indices = job.indices(step, attempt, count)
                key = jax.random.fold_in(jax.random.key(job.seed), attempt)
                state, logs = run(state, arrays, frozen, indices, count, key)
                logs = {name: np.asarray(values)[:count] for name, values in logs.items()}
                trouble = first_not_finite(logs, step)
                if trouble:
                    state, step, attempt = roll_back(job, checkpoints, sharding, attempt, trouble)
                    bar.n, recent = step, []
                    log.close()
                    log, started = MetricsLog(workdir, job.name, step), time.perf_counter()
                    continue
                step += count
                recent.append((count, logs["loss"].mean()))
                loss = np.average([r[1] for r in recent], weights=[r[0] for r in recent])
                values = {name: float(v.mean()) for name, v in logs.items()}
                values |= {name: float(v) for name, v in measure(state.ema_params, frozen).items()}
                log.write(step, time.perf_counter() - started, values)
                bar.set_postfix_str(f"loss {logs['loss'].mean():.4g}", refresh=False)
                bar.update(count)
                stopping = stop.requested()
                if stopping or step % job.checkpoint_every == 0 or step == job.steps:
                    checkpoints.save(state, loss)
                    recent = []
                if stopping and step < job.steps:
                    raise Interrupted(
                        f"stopped at step {step} of stage {job.name}, checkpoint written: "
                        "run the same command again to go on"
                    )
        return state
    finally:
        log.close()
        checkpoints.close()


def progress_bar(job, step):
    """Rate and time left, from the first process alone."""
    return tqdm(
        total=job.steps,
        initial=step,
        desc=job.name,
        unit="step",
        file=sys.stdout,
        mininterval=1.0,
        disable=jax.process_index() > 0,
    )


def first_not_finite(logs, step):
    """None, or a description of the first step (counted from 1) and the terms in it that are not finite."""
    bad = {name: ~np.isfinite(values) for name, values in logs.items()}
    rows = np.any(list(bad.values()), axis=0)
    if not rows.any():
        return None
    first = int(rows.argmax())
    return f"step {step + first + 1}: not finite: {', '.join(name for name in logs if bad[name][first])}"


def roll_back(job, checkpoints, sharding, attempt, trouble):
    """The last good state with `attempt` raised, so that the stretch is tried again on other batches and noise."""
    checkpoints.wait()
    last = checkpoints.latest_step()
    if attempt >= job.max_rollbacks:
        raise Diverged(
            f"training of stage {job.name} diverged at {trouble}; the last good checkpoint, step {last}, is kept; "
            f"{job.remedy}, in a new workdir"
        )
    state = restore_or_init(job, checkpoints, sharding)
    state = state.replace(attempt=jax.device_put(np.int32(attempt + 1), sharding))
    if jax.process_index() == 0:
        print(f"{job.name} diverged at {trouble}; rolled back to step {int(state.step)}, attempt {attempt + 1}")
    return state, int(state.step), attempt + 1
