"""What every kind of run shares: its directory, results.json, training a stage, and the stages in order."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import jax

from scoressl_jax.errors import UserError
from scoressl_jax.files import write_json
from scoressl_jax.training.checkpoints import Checkpoints
from scoressl_jax.training.loop import train
from scoressl_jax.training.metrics import read_metrics
from scoressl_jax.training.signals import StopSignal


@dataclass
class Run:
    """One run in a directory; parameters are restored once and kept. `experiment` is what build made of the config."""

    workdir: Path
    experiment: object
    stop: StopSignal
    params: dict = field(default_factory=dict)

    @property
    def config(self):
        return self.experiment.config

    @property
    def first_process(self):
        return jax.process_index() == 0

    def record(self, **blocks):
        """Merge blocks into results.json."""
        if self.first_process:
            path = self.workdir / "results.json"
            results = json.loads(path.read_text()) if path.exists() else {}
            for name, values in blocks.items():
                results[name] = {**results.get(name, {}), **values}
            write_json(path, results)


def parameter_count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def train_stage(run, job):
    """Train or restore a stage; its EMA parameters, and its block of results.json."""
    state = train(job, run.workdir, run.stop)
    last = [row for row in read_metrics(run.workdir) if row["stage"] == job.name][-1:]
    measured = {"loss": last[0]["loss"], "seconds": last[0]["time"]} if last else {}
    return state.ema_params, {"parameters": parameter_count(state.ema_params), "steps": job.steps, **measured}


def require_finished(run, name, steps, mode):
    """A UserError unless stage `name` has been trained to its end."""
    folder = run.workdir / "checkpoints" / name
    if not folder.exists() or Checkpoints(folder).latest_step() != steps:
        raise UserError(f"stage {name} of {run.workdir} is not finished: run --mode={mode} or --mode=run first")


def run_stages(mode, stages, experiment, workdir, data):
    """Run one of `stages`, functions of a run, by its name, or all in order (`run`); `data` is recorded first."""
    with StopSignal() as stop:
        run = Run(Path(workdir), experiment, stop)
        run.record(data=data)
        for stage in stages:
            if mode in ("run", stage.__name__):
                stop.check()
                stage(run)
