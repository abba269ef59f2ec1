"""Updates per second of the two moons with the released networks at batch 4,000.

The DSM step of the score network and the DLSM+CE step of the classifier, as the faithful preset runs them, in turns
with a plain PyTorch loop of the same arithmetic, which has a process of its own. Prints medians over the turns.
"""

import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import jax

from scoressl_jax.commands.run import load_config
from scoressl_jax.devices import device_mesh, prepare_jax, replicated, use_cores
from scoressl_jax.experiment.fields import batch_sizes
from scoressl_jax.studies.moons import jobs
from scoressl_jax.studies.moons.config import FIELDS
from scoressl_jax.training.loop import Job
from scoressl_jax.training.step import make_multi_update

STEPS, TURNS = 50, 12
CONFIG = "moons_dlsm:faithful"  # shipped: found from any directory


def make_runner(job: Job) -> Callable[[], float]:
    """steps() -> seconds of STEPS updates."""
    run, sharding = make_multi_update(job.update, device_mesh()), replicated(device_mesh())
    inputs = job.init_state(), job.arrays, job.frozen, jax.random.key(0)
    state, arrays, frozen, key = jax.device_put(inputs, sharding)
    carried = [state]

    def steps():
        indices = job.indices(0, 0, STEPS)
        started = time.perf_counter()
        carried[0], _ = jax.block_until_ready(run(carried[0], arrays, frozen, indices, STEPS, key))
        return time.perf_counter() - started

    return steps


@contextlib.contextmanager
def torch_loop() -> Iterator[Callable[[str], float] | None]:
    """`name -> seconds` of STEPS updates in a PyTorch process, or None without PyTorch.

    Its threads sleep while they wait: otherwise they would take the cores from the other process between turns.
    """
    if importlib.util.find_spec("torch") is None:
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "scoressl_jax.studies.moons.torch_loop"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )

    def seconds(name):
        process.stdin.write(f"{name} {STEPS}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    try:
        yield seconds
    finally:
        process.kill()
        process.wait()


def main() -> int:
    config = load_config(CONFIG)
    config.training.steps_per_call = STEPS
    prepare_jax()
    use_cores(batch_sizes(config, FIELDS))
    study = jobs.build(config)
    score = jobs.score_job(study, (jobs.PRIOR,))
    ours = {
        "DSM": make_runner(score),
        "DLSM+CE": make_runner(jobs.classifier_job(study, "dlsm_ce", score.init_state().params)),
    }
    print(f"{jax.device_count()} {jax.default_backend()} device(s), medians of {TURNS} turns of {STEPS} updates")
    print(f"{'step':<10}{'updates/s':>10}{'PyTorch':>10}{'ratio':>8}{'range':>14}")
    with torch_loop() as theirs:
        for name, steps in ours.items():
            turns = [(steps(), theirs(name) if theirs else float("nan")) for _ in range(TURNS + 1)][1:]
            rates = [statistics.median(STEPS / seconds for seconds in column) for column in zip(*turns, strict=True)]
            ratios = sorted(other / own for own, other in turns)
            compared = f"{rates[1]:>10.1f}{statistics.median(ratios):>8.2f}{ratios[0]:>8.2f}-{ratios[-1]:.2f}"
            print(f"{name:<10}{rates[0]:>10.1f}{compared if theirs else ''}", flush=True)
        if theirs is None:
            print("PyTorch is not installed, so there is nothing to compare with: pip install -e '.[torch]'")
    return 0
