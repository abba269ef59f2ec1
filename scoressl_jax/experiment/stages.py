"""What a stage is, and what follows for all of them from a table of stages: order, what is finished, what is refused.

A kind of study (images.py, the two moons) is a table and what builds its experiment. Nothing else knows which stages
there are: adding one is one entry.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.machine import machine
from scoressl_jax.experiment.run import Run
from scoressl_jax.training.signals import StopSignal


def nothing(_) -> tuple:
    return ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    name: also that of its checkpoints. mode: the --mode that does it, with others of that mode; also: a second one.
    run(work): does it. needs(config): stages whose results it takes, which must be finished. uses: stages of which it
    takes what is there. reads: fields and blocks of the config that change what it makes; data: parts of the data's
    fingerprint that do, or data(config). makes: patterns of the files it makes. applies(work): whether this experiment
    has it at all; beside: in a mode of its own, it is left out unless these stages have made something. extent(run):
    how much of it there is, in steps or images; target(experiment): how much there is to be (None: whatever is there).
    grows: the field that asks for more of it, which may be raised; may_grow(config) says why not, or nothing. renewed:
    done again by itself when what it was made from has grown. job(work): what it trains. estimate(work): a line on the
    time it takes. every_time: done whenever it is asked for. needs_data: not from the run's files alone.
    """

    name: str
    mode: str
    run: Callable
    also: str = ""
    needs: Callable = nothing
    uses: tuple = ()
    reads: tuple = ()
    data: tuple | Callable = ()
    makes: tuple = ()
    applies: Callable = lambda work: True
    beside: tuple = ()
    extent: Callable = lambda run: 0
    target: Callable = lambda experiment: 1
    grows: str = ""
    may_grow: Callable = lambda config: ""
    renewed: bool = False
    job: Callable | None = None
    estimate: Callable | None = None
    every_time: bool = False
    needs_data: bool = True

    def is_of(self, mode: str) -> bool:
        return mode in (self.mode, self.also)

    def parts(self, config) -> tuple:
        """Parts of the data's fingerprint that change what it makes."""
        return self.data(config) if callable(self.data) else self.data


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of study: its fields and choices, what builds its experiment (`build(config, known)` with the data,
    without them `open(run, config)`), and its table of stages."""

    fields: dict
    choices: dict  # {field that is a choice: {value: Option}}
    build: Callable
    open: Callable
    stages: tuple
    facts: Callable  # experiment -> what data.json says
    split: Callable  # experiment -> what labels.json says, or None
    described: Callable  # experiment -> a line on the data

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    def before(self, stage: Stage, config) -> list[Stage]:
        """Every stage that a stage was made from, directly or not."""
        found = {}
        for name in (*stage.needs(config), *stage.uses):
            source = self.stage(name)
            found |= {s.name: s for s in (*self.before(source, config), source)}
        return list(found.values())


@dataclass
class Work:
    """A run under way: what a stage is given. `params(stage)` are the averaged parameters of a trained stage."""

    kind: Kind
    run: Run
    experiment: object
    stop: StopSignal | None = None
    mode: str = "run"

    @property
    def config(self):
        return self.experiment.config

    @property
    def first_process(self) -> bool:
        return jax.process_index() == 0

    def stages(self) -> list[Stage]:
        """Those of the table that this experiment has."""
        return [stage for stage in self.kind.stages if stage.applies(self)]

    def params(self, name: str):
        stage = self.kind.stage(name)
        try:
            return self.run.params(name)
        except UserError:  # a damaged checkpoint: training sets it aside and goes on from the one before it
            if not self.run.steps_done(name):
                raise
            stage.run(self)
            return self.run.params(name)

    def sources(self, stage: Stage) -> dict:
        """{stage that it is made from, directly or not: how much of that there is}."""
        return {source.name: source.extent(self.run) for source in self.kind.before(stage, self.config)}

    def stale(self, stage: Stage) -> bool:
        """Whether what it was made from has grown since; of old runs nothing is known, and nothing stale."""
        made, now = self.run.made.get(stage.name, {}), self.sources(stage)
        return any(made.get(name, extent) != extent for name, extent in now.items())

    def finished(self, stage: Stage) -> bool:
        if stage.every_time:
            return False
        extent, target = stage.extent(self.run), stage.target(self.experiment)
        return bool(extent) and target in (None, extent) and not self.stale(stage)

    def require(self, stage: Stage) -> None:
        """A UserError unless every stage that it needs has been done to its end."""
        for name in stage.needs(self.config):
            source = self.kind.stage(name)
            if source.applies(self) and not self.finished(source):
                raise UserError(
                    f"stage {name} of {self.run.workdir} is not finished: run --mode={source.mode} or --mode=run first"
                )

    def do(self, stage: Stage) -> None:
        """One stage, unless it is done; then say what it was made from."""
        self.require(stage)
        if self.finished(stage):
            if self.first_process:
                print(f"{stage.name}: done, {self.run.workdir}/{self.run.has(*stage.makes)[0]}")
            return
        if stage.renewed and stage.extent(self.run) and self.stale(stage):
            self.run.remove(*stage.makes)
        self.forget_figures(stage)
        stage.run(self)
        if not stage.every_time:
            self.run.write_made(stage.name, self.sources(stage))
            self.run.write_made_on(stage.name, machine())

    def forget_figures(self, stage: Stage) -> None:
        """What was measured of something that is about to change is no longer shown, and is to be measured again."""
        for measuring in (s for s in self.kind.stages if s.mode == "evaluate" and not s.job):
            if stage in self.kind.before(measuring, self.config):
                self.run.remove(*measuring.makes)
            elif stage is not measuring:
                continue
            self.run.forget_measured()


def trained(name: str, *, steps: Callable, block: Callable | None = None, schedule: Callable | None = None, **rest):
    """A Stage that trains a Job. steps(config): to which step. block(work, measured) -> blocks of results.json,
    by default one of its own name; schedule(config): of its learning rate, where its steps may be raised."""

    def run(work):
        measured = work.run.train(rest["job"](work), work.stop)
        work.run.record(**(block(work, measured) if block else {name: measured}))

    def may_grow(config):
        if schedule(config) != "constant":
            return f"its {schedule(config)} schedule has run to its end"
        return ""

    return Stage(
        name=name,
        **{
            "run": run,
            "makes": (f"checkpoints/{name}", f"checkpoints/{name}-*.damaged"),
            "extent": lambda run: run.steps_done(name),
            "target": lambda experiment: steps(experiment.config),
            "may_grow": may_grow if schedule else lambda config: "",
        }
        | rest,
    )


def execute(kind: Kind, mode: str, work: Work) -> None:
    """Every stage of a mode, or all in order (`run`)."""
    # Whether others apply is not asked: it may take the data.
    plan = [stage for stage in kind.stages if (mode == "run" or stage.is_of(mode)) and stage.applies(work)]
    with StopSignal() as stop:
        work.stop, work.mode = stop, mode
        for number, stage in enumerate(plan, 1):
            if mode != "run" and any(not kind.stage(name).extent(work.run) for name in stage.beside):
                continue
            stop.check()
            if mode == "run" and work.first_process:
                print(f"stage {number} of {len(plan)}: {stage.name}", flush=True)
            work.do(stage)
