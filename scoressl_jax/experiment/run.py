"""A run: a directory and what is in it. Nothing else opens these files.

    config.json    every field, and the format of the directory
    data.json      class names, image shape, counts and fingerprint of the data that everything here was made with
    made.json      {stage: {stage that it was made from: how much of that there was}}
    made_on.json   {stage: when, by which versions and on which machine it was done}
    command.txt, labels.json, metrics.jsonl, logs/, checkpoints/STAGE/, class_prior.npz, samples/, evaluation.npz,
    score_fields.npz, results.json, figures/, report.html, reproduced.json

A directory is opened without its data set. Runs of format 1 have no data.json and no made.json: what these would say is
read off their other files.
"""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
from filelock import FileLock, Timeout

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.files import path_of, read_or_empty, write_bytes, write_json, write_npz, write_text
from scoressl_jax.training.checkpoints import Checkpoints, read_averages
from scoressl_jax.training.loop import Job, train
from scoressl_jax.training.metrics import read_metrics
from scoressl_jax.training.signals import StopSignal

FORMAT = 2
ARRAYS = {"samples": "samples/samples.npz", "evaluation": "evaluation.npz", "score_fields": "score_fields.npz"}
BELOW = "checkpoints"
# Blocks of results.json that are figures alone, and the time that they took
MEASURED = ("data", "evaluation", "generation", "likelihood", "score_error")
WORKED = (  # keys of the others that are not
    *("kind", "parameters", "steps", "loss", "seconds", "init_from", "losses", "runs", "networks"),
    *("speaks", "network", "stop", "why", "candidates", "unlabeled_accuracy", "unlabeled_accuracy_standard_error"),
    *("count", "sampler", "calls", "scale", "task", "estimate", "standard_error", "method", "true", "error"),
)


class Run:
    """One run. What is absent, or was cut short, is empty; only config.json has to be there to `open`."""

    def __init__(self, workdir: Path | str):
        self.workdir = path_of(workdir)

    @classmethod
    def open(cls, workdir: Path | str) -> "Run":
        """The run that a directory holds; a UserError where there is none, or it is of a newer format."""
        run = cls(workdir)
        if not run.exists:
            raise UserError(f"{workdir} holds no run (it has no config.json): name the directory of one")
        if run.format > FORMAT:
            raise UserError(
                f"{workdir} was made by a newer version (format {run.format}, this one knows {FORMAT}): upgrade"
            )
        return run

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else works in the directory meanwhile; a UserError says who does. Processes that train as one are one,
        and the lock of a process that has died is free."""
        if jax.process_index() > 0:
            yield
            return
        holder, lock = self.workdir / "holder.json", FileLock(self.workdir / ".lock", timeout=0)
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            known = read_or_empty(holder)
            who = f"process {known['process']} on {known['host']}" if known else "another process"
            raise UserError(f"--workdir={self.workdir}: {who} is at work there: wait, or name another") from None
        except OSError as error:
            raise UserError(f"--workdir={self.workdir}: {error}: name a directory that can be written") from None
        try:
            write_json(holder, {"process": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    # What it was made with

    @property
    def exists(self) -> bool:
        return (self.workdir / "config.json").exists()

    @property
    def _config_json(self) -> dict:
        path = self.workdir / "config.json"
        try:
            found = json.loads(path.read_text())
            return {**found}
        except (ValueError, TypeError, OSError) as error:
            raise UserError(f"{path} cannot be read ({one_line(error)}): restore or delete it") from None

    @property
    def format(self) -> int:
        return self._config_json.get("format", 1)

    @property
    def config(self) -> dict:
        """The fields, as nested dicts."""
        return {name: value for name, value in self._config_json.items() if name != "format"}

    def write_config(self, fields: dict, command: str) -> None:
        before = self._config_json if self.exists else {}
        self._write(write_json, "config.json", {"format": FORMAT, **fields})
        if before != {"format": FORMAT, **fields}:
            self._write(write_text, "command.txt", command + "\n")

    @property
    def data(self) -> dict:
        """data.json; of a run of format 1 what its other files tell, which lacks the fingerprint."""
        return read_or_empty(self.workdir / "data.json") or self._told_data()

    def _told_data(self) -> dict:
        told = dict(self.results.get("data", {}))
        names, images = self.evaluation.get("class_names"), self.samples.get("images")
        if "num_classes" in told:
            told["class_names"] = [str(n) for n in (range(told["num_classes"]) if names is None else names)]
        pictures = self.evaluation.get("gradient_images", images)
        if pictures is not None:
            told["image_shape"] = list(np.shape(pictures)[1:])
        return told

    def write_data(self, facts: dict, split: dict | None) -> None:
        """data.json and, where labels are hidden, labels.json: which images kept theirs."""
        self._write(write_json, "data.json", facts)
        if split is not None:
            self._write(write_text, "labels.json", json.dumps(split) + "\n")

    @property
    def made(self) -> dict:
        return read_or_empty(self.workdir / "made.json")

    def write_made(self, stage: str, sources: dict | None) -> None:
        """Say what a stage was made from; None forgets it, and where it was made."""
        made = {name: value for name, value in self.made.items() if name != stage}
        self._write(write_json, "made.json", made | ({} if sources is None else {stage: sources}))
        if sources is None and stage in self.made_on:
            on = {name: value for name, value in self.made_on.items() if name != stage}
            self._write(write_json, "made_on.json", on)

    @property
    def made_on(self) -> dict:
        return read_or_empty(self.workdir / "made_on.json")

    def write_made_on(self, stage: str, machine: dict) -> None:
        """Say when, by what and on what a stage was done, in place of what was said before."""
        self._write(write_json, "made_on.json", {**self.made_on, stage: machine})

    # What it has made

    @property
    def results(self) -> dict:
        return read_or_empty(self.workdir / "results.json")

    @property
    def labels(self) -> dict:
        return read_or_empty(self.workdir / "labels.json")

    @property
    def choice(self) -> dict:
        """choice.json: what speaks for a teacher that was chosen, and why."""
        return read_or_empty(self.workdir / "choice.json")

    @property
    def metrics(self) -> list[dict]:
        return read_metrics(self.workdir)

    @property
    def command(self) -> str:
        path = self.workdir / "command.txt"
        return path.read_text().strip() if path.exists() else ""

    @cached_property
    def samples(self) -> dict:
        return self.arrays("samples")

    @cached_property
    def evaluation(self) -> dict:
        return self.arrays("evaluation")

    def arrays(self, name: str) -> dict:
        """{name: array} of samples, evaluation, score_fields or class_prior."""
        return read_or_empty(self.workdir / ARRAYS.get(name, f"{name}.npz"))

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        self._write(lambda path, values: write_npz(path, **values), ARRAYS.get(name, f"{name}.npz"), arrays)
        self.__dict__.pop(name, None)  # what was read before

    def write(self, name: str, content: bytes | str | dict) -> Path:
        """A file of the run as text, bytes or JSON; its path."""
        writer = write_json if isinstance(content, dict) else write_text if isinstance(content, str) else write_bytes
        self._write(writer, name, content)
        return self.workdir / name

    def _write(self, writer, name: str, content) -> None:
        if jax.process_index() == 0:
            writer(self.workdir / name, content)

    def record(self, **blocks: dict) -> None:
        """Merge blocks into results.json."""
        results = self.results
        for name, values in blocks.items():
            results[name] = {**results.get(name, {}), **values}
        self._write(write_json, "results.json", results)

    def record_data(self) -> None:
        """Say in results.json what data its figures are measured on: their name, counts and fingerprint."""
        facts = {name: value for name, value in self.data.items() if name not in ("class_names", "image_shape")}
        self.record(data=facts)

    def forget(self, *blocks: str) -> None:
        """Take blocks out of results.json: figures of other samples, or whose names hold another count, would stay."""
        self._write(write_json, "results.json", {key: b for key, b in self.results.items() if key not in blocks})

    def forget_measured(self) -> None:
        """Take every measured figure out of results.json; what was trained and drawn, and in what time, stays."""
        kept = {
            name: {key: value for key, value in block.items() if key in WORKED}
            for name, block in self.results.items()
            if name not in MEASURED
        }
        self._write(write_json, "results.json", {name: block for name, block in kept.items() if block})

    def has(self, *patterns: str) -> list[str]:
        """Those of the patterns of paths of which something is there."""
        return [pattern for pattern in patterns if any(self.workdir.glob(pattern))]

    def remove(self, *patterns: str) -> None:
        if jax.process_index() == 0:
            for path in (found for pattern in patterns for found in list(self.workdir.glob(pattern))):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._forget_read()

    def set_aside(self, *patterns: str) -> Path:
        """Move what is there of the patterns, with copies of what it was made with, to a new folder replaced-N/."""
        number = 1 + max((int(p.name.removeprefix("replaced-")) for p in self.workdir.glob("replaced-*")), default=0)
        folder = self.workdir / f"replaced-{number}"
        if jax.process_index() == 0:
            for path in (found for pattern in patterns for found in list(self.workdir.glob(pattern))):
                target = folder / path.relative_to(self.workdir)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            for name in ("config.json", "data.json", "labels.json", "results.json", "report.html"):
                if (self.workdir / name).exists():
                    shutil.copy2(self.workdir / name, folder / name)
        self._forget_read()
        return folder

    def _forget_read(self) -> None:
        self.__dict__.pop("samples", None)
        self.__dict__.pop("evaluation", None)

    # Training

    def train(self, job: Job, stop: StopSignal) -> dict:
        """Train or resume a stage; its averaged parameters are then `params(job.name)`. Its block of results.json."""
        state = train(job, self.workdir, stop)
        return {"parameters": parameter_count(state.ema_params), "steps": job.steps, **self.last_logged(job.name)}

    def last_logged(self, stage: str) -> dict:
        last = [row for row in self.metrics if row["stage"] == stage][-1:]
        return {"loss": last[0]["loss"], "seconds": last[0]["time"]} if last else {}

    def steps_done(self, stage: str) -> int:
        """Step of the newest checkpoint, from which a stage goes on; 0 without any."""
        folder = self.workdir / BELOW / stage
        return (Checkpoints(folder).latest_step() or 0) if folder.exists() else 0

    def save_params(self, stage: str, state) -> None:
        """Keep a state that was not trained here as the finished checkpoint of a stage."""
        checkpoints = Checkpoints(self.workdir / BELOW / stage)
        checkpoints.save(state, 0.0)
        checkpoints.close()

    def params(self, stage: str):
        """Averaged parameters of a stage's newest checkpoint, NumPy arrays; restored once."""
        cache = self.__dict__.setdefault("_params", {})
        step = self.steps_done(stage)
        if (stage, step) not in cache:
            found, params = read_averages(self.workdir / BELOW / stage)
            if params is None:
                raise UserError(f"{self.workdir}: stage {stage} is not trained: finish the run first")
            cache[stage, found] = params
        return cache[stage, step]

    def class_names(self, count: int | None = None) -> list[str]:
        """The names of the first `count` classes; a class without a name is its number."""
        known = [str(name) for name in self.data.get("class_names", ())]
        count = len(known) if count is None else count
        return (known + [str(i) for i in range(len(known), count)])[:count]


def parameter_count(params) -> int:
    return sum(x.size for x in jax.tree.leaves(params))
