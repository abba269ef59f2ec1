"""Taking a config and its data into a run's directory: what is made there already must not change under it."""

import json
from dataclasses import dataclass

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.stages import Kind, Stage, Work
from scoressl_jax.files import flat

PARTS = {  # of the data's fingerprint, in the order in which a change is told
    "images": ("training images", "num_train"),
    "classes": ("classes", "num_classes"),
    "labels": ("labels", "num_labeled"),
    "true_labels": ("labels that training does not see", "num_train"),
    "test": ("test images", "num_test"),
}


@dataclass(frozen=True)
class Changes:
    """What is not as it was when the run was made: fields {name: (old, new)}, and parts of the data."""

    fields: dict
    parts: tuple

    def touch(self, stage: Stage) -> list[str]:
        """The fields and parts of the data that a stage reads and that have changed."""
        read = [f for f in self.fields if any(f == name or f.startswith(f"{name}.") for name in stage.reads)]
        return read + [part for part in self.parts if part in stage.data]


def adopt(work: Work, command: str | None, without_data: bool = False) -> None:
    """Write config.json and data.json, refusing a change on which anything already made depends.

    without_data: what is asked for needs none, and the run's own word on them stands."""
    run, kind, config = work.run, work.kind, json.loads(work.config.to_json())
    if without_data:
        facts, split = run.data, None
    else:
        facts, split = kind.facts(work.experiment), kind.split(work.experiment)
    if run.exists:
        known_sources(work)
        accept(work, changes(kind, run.config, config, run.data, facts), facts)
    run.write_config(config, command)
    run.write_data(facts, split)


def changes(kind: Kind, old: dict, new: dict, data: dict, facts: dict) -> Changes:
    """A field that the run does not have is newer than the run: then it had what all runs had before."""
    fields = dict(flat(kind.fields))
    had = {n: field.default if field.before is None else field.before for n, field in fields.items()}
    had = json.loads(json.dumps(had)) | dict(flat(old))
    now = dict(flat(new))
    order = sorted(now, key=lambda name: name != "preset")  # it explains the others
    differ = {n: (had[n], now[n]) for n in order if n in had and had[n] != now[n] and not fields[n].free}
    before, after = data.get("fingerprint", {}), facts.get("fingerprint", {})
    parts = tuple(part for part in PARTS if part in before and before[part] != after[part])
    if not before:  # a run of format 1: its counts are all there is to compare
        counts = {"images": "num_train", "labels": "num_labeled", "test": "num_test"}
        parts = tuple(p for p, count in counts.items() if count in data and data[count] != facts.get(count))
    return Changes(differ, parts)


def accept(work: Work, changed: Changes, facts: dict) -> None:
    """Refuse what would change what is made, but for what may grow, and for stages that are asked for afresh."""
    run, kind, config = work.run, work.kind, work.config
    growing = {s.name for s in kind.stages if grows(s, changed)}
    touched, outgrown = [], []
    for stage in kind.stages:
        if not run.has(*stage.makes):
            continue
        chain = [*kind.before(stage, config), stage]
        if any(set(changed.touch(s)) - ({s.grows} if s.name in growing else set()) for s in chain):
            touched.append(stage)
        elif any(s.name in growing for s in chain[:-1]) and not stage.renewed:
            outgrown.append(stage)
        elif stage.name in growing and stage.may_grow(config):
            refuse_growth(work, stage, changed)
    if touched and not afresh(work, touched, changed, facts):
        refuse(work, touched, changed, facts)
    if outgrown:
        refuse_outgrown(work, outgrown, growing, changed)


def grows(stage: Stage, changed: Changes) -> bool:
    old, new = changed.fields.get(stage.grows, (0, 0))
    return new > old


def asked_for(work: Work) -> list[Stage]:
    return [stage for stage in work.kind.stages if stage.mode == work.mode]


def afresh(work: Work, touched: list, changed: Changes, facts: dict) -> bool:
    """Whether the mode asks for the first of the stages that a change of the data alone touches: then what they made is
    moved aside, and they are done again."""
    if any(set(changed.touch(s)) & set(changed.fields) for s in work.kind.stages if s in touched):
        return False
    if touched[0] not in asked_for(work):
        return False
    folder = work.run.set_aside(*(pattern for stage in touched for pattern in stage.makes))
    for stage in touched:
        work.run.write_made(stage.name, None)
    work.run.forget_measured()
    print(f"{told(changed.parts, work.run.data, facts)}: {', '.join(s.name for s in touched)} afresh; "
          f"what was there is kept in {folder}")  # fmt: skip
    return True


def told(parts: tuple, before: dict, now: dict) -> str:
    """What changed in the data, in words."""
    words = []
    for part in parts:
        what, count = PARTS[part]
        counts = (now.get(count), before.get(count))
        same = counts[0] == counts[1]
        words.append(f"other {what} than then" if same else f"{counts[0]} {what} now, {counts[1]} then")
    return "; ".join(words)


def refuse(work: Work, touched: list, changed: Changes, facts: dict) -> None:
    run, kind = work.run, work.kind
    made = list(dict.fromkeys(found for stage in touched for found in run.has(*stage.makes)))
    named = [n for n in changed.fields if any(n in changed.touch(s) for s in kind.stages)]
    if named and not changed.parts:
        name = named[0]
        old, new = changed.fields[name]
        raise UserError(
            f"config.{name} is {old!r} in the run {run.workdir} and {new!r} now, which would change what is done: "
            f"keep {old!r}, take a new --workdir, or delete {', '.join(made)} there to do it again"
        )
    fields = [n for n in changed.fields if n.startswith("data.") or n in named]
    why = "".join(f"; config.{n} is {changed.fields[n][1]!r}, was {changed.fields[n][0]!r}" for n in fields)
    first = touched[0]
    valid = [s.name for s in kind.stages if s.job and run.has(*s.makes) and s not in touched]
    again = f"delete {', '.join(made)} there to do it again"
    if not named:
        above = f" above {' and '.join(valid)}, which stay valid" if valid else ""
        again = f"do it afresh{above} with --mode={first.mode}"
    raise UserError(
        f"the data are not those that the run {run.workdir} was made with "
        f"({told(changed.parts, run.data, facts)}{why}): put them back, take a new --workdir, or {again}"
    )


def refuse_growth(work: Work, stage: Stage, changed: Changes) -> None:
    old, new = changed.fields[stage.grows]
    raise UserError(
        f"config.{stage.grows} is {old!r} in the run {work.run.workdir} and {new!r} now, but {stage.name} cannot be "
        f"trained on: {stage.may_grow(work.config)}; keep {old!r}, or take a new --workdir that begins with its "
        f"weights, {warm_start(stage.name, work.run.workdir)}"
    )


def refuse_outgrown(work: Work, outgrown: list, growing: set, changed: Changes) -> None:
    run, grown = work.run, next(s for s in work.kind.stages if s.name in growing)
    old, new = changed.fields[grown.grows]
    made = [found for stage in outgrown for found in run.has(*stage.makes)]
    raise UserError(
        f"config.{grown.grows} is {old!r} in the run {run.workdir} and {new!r} now: {grown.name} can be trained on, "
        f"but {', '.join(s.name for s in outgrown)} was made with it as it is: keep {old!r}, delete {', '.join(made)} "
        f"there, or take a new --workdir that begins with its weights, {warm_start(grown.name, run.workdir)}"
    )


def warm_start(stage: str, workdir) -> str:
    more = " --config.score.warm_start=True" if stage == "score" else ""
    return f"--config.{stage}.init_from=run:{workdir}{more}"


def known_sources(work: Work) -> None:
    """Of a run of format 1, what its evaluation was made from: samples, where it has their nearest training images."""
    run = work.run
    if run.format == 1 and not run.made:
        for stage in work.kind.stages:
            if stage.uses and run.has(*stage.makes):
                seen = len(run.evaluation.get("nearest", ()))
                run.write_made(stage.name, {"samples": seen} if "samples" in stage.uses else {})
