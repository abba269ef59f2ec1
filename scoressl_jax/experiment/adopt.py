"""Taking a config and its data into a run's directory: what is made there already must not change under it."""

import json
from dataclasses import dataclass

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import had_before
from scoressl_jax.experiment.stages import Kind, Stage, Work
from scoressl_jax.files import flat

PARTS = {  # of the data's fingerprint, in the order in which a change is told
    "images": ("training images", "num_train"),
    "classes": ("classes", "num_classes"),
    "labels": ("labels", "num_labeled"),
    "true_labels": ("hidden labels", "num_train"),
    "test": ("test images", "num_test"),
}


@dataclass(frozen=True)
class Changes:
    """What is not as it was when the run was made: fields {name: (old, new)}, and parts of the data."""

    fields: dict
    parts: tuple

    def touch(self, stage: Stage, config) -> list[str]:
        """The fields and parts of the data that a stage reads and that have changed."""
        read = [f for f in self.fields if any(f == name or f.startswith(f"{name}.") for name in stage.reads)]
        return read + [part for part in self.parts if part in stage.parts(config)]


def adopt(work: Work, command: str, without_data: bool = False) -> None:
    """Write config.json and data.json, refusing a change on which anything already made depends.

    command: what makes the run from nothing. without_data: what is asked for needs none, and the run's own word on them
    stands."""
    run, kind, config = work.run, work.kind, json.loads(work.config.to_json())
    if without_data:
        facts, split = run.data, None
    else:
        facts, split = kind.facts(work.experiment), kind.split(work.experiment)
    if run.exists:
        accept(work, changes_of(work, facts, split), facts)
        known_sources(work)
    run.write_config(config, command)
    run.write_data(facts, split)


def rehearse(work: Work) -> None:
    """Raise what `adopt` would, and change nothing."""
    facts, split = work.kind.facts(work.experiment), work.kind.split(work.experiment)
    accept(work, changes_of(work, facts, split), facts, rehearsed=True)


def changes_of(work: Work, facts: dict, split: dict | None) -> Changes:
    run, labeled = work.run, [known.get("labeled") for known in (work.run.labels, split or {})]
    return changes(work.kind, run.config, json.loads(work.config.to_json()), run.data, facts, labeled=labeled)


def changes(kind: Kind, old: dict, new: dict, data: dict, facts: dict, *, labeled: list) -> Changes:
    """A field that the run does not have is newer than the run: then it had what all runs had before. `labeled`: the
    images that had a label then, and that have one now; None is not known."""
    fields = dict(flat(kind.fields))
    had = json.loads(json.dumps(had_before(kind.fields, dict(flat(old))))) | dict(flat(old))
    now = dict(flat(new))
    order = sorted(now, key=lambda name: name != "preset")  # it explains the others
    differ = {n: (had[n], now[n]) for n in order if n in had and had[n] != now[n] and not fields[n].free}
    before, after = data.get("fingerprint", {}), facts.get("fingerprint", {})
    parts = tuple(part for part in PARTS if part in before and before[part] != after[part])
    if not before:  # a run of format 1: its counts and its labelled images are all there is to compare
        counts = {"images": "num_train", "labels": "num_labeled", "test": "num_test"}
        others = {p for p, count in counts.items() if count in data and data[count] != facts.get(count)}
        if None not in labeled and labeled[0] != labeled[1]:
            others.add("labels")
        names = facts.get("class_names", [])
        if old.get("data", {}).get("name") == "folder" and names != sorted(names):
            others |= {"labels", "classes"}  # then 10 came before 2
        parts = tuple(part for part in PARTS if part in others)
    return Changes(differ, parts)


def accept(work: Work, changed: Changes, facts: dict, rehearsed: bool = False) -> None:
    """Refuse what would change what is made, but for what may grow, and for stages that are asked for afresh. What is
    made but no longer part of the experiment is moved aside, but where it is `rehearsed`."""
    run, kind, config = work.run, work.kind, work.config
    growing = {s.name for s in kind.stages if grows(s, changed)}
    touched, why, unused, outgrown = [], set(), [], []
    for stage in kind.stages:
        if not run.has(*stage.makes):
            continue
        chain = [*kind.before(stage, config), stage]
        found = {n for s in chain for n in changed.touch(s, config) if not (n == s.grows and s.name in growing)}
        if found and not stage.applies(work):
            unused.append(stage)
        elif found:
            touched.append(stage)
            why |= found
        elif any(s.name in growing for s in chain[:-1]) and not stage.renewed:
            outgrown.append(stage)
        elif stage.name in growing and stage.may_grow(config):
            refuse_growth(work, stage, changed)
    because = Changes(
        {name: values for name, values in changed.fields.items() if name in why},
        tuple(part for part in changed.parts if part in why),
    )
    if touched and not is_afresh(work, touched, because):
        refuse(work, touched, because, changed, facts)
    if outgrown:
        refuse_outgrown(work, outgrown, growing, changed)
    if rehearsed:
        return
    if touched:
        set_aside(work, touched, f"{told(because.parts, run.data, facts)}: {listed(touched)} afresh")
        run.forget_measured()
    if unused:
        set_aside(work, unused, f"{listed(unused)}: no part of the experiment any more")


def listed(stages: list) -> str:
    return ", ".join(stage.name for stage in stages)


def grows(stage: Stage, changed: Changes) -> bool:
    old, new = changed.fields.get(stage.grows, (0, 0))
    return new > old


def asked_for(work: Work) -> list[Stage]:
    return [stage for stage in work.kind.stages if stage.is_of(work.mode)]


def is_afresh(work: Work, touched: list, because: Changes) -> bool:
    """Whether the mode asks for the first of the stages that a change of the data alone touches."""
    return not because.fields and touched[0] in asked_for(work)


def set_aside(work: Work, stages: list, why: str) -> None:
    """Move what stages have made out of the way: they are to be done again, or not at all."""
    folder = work.run.set_aside(*(pattern for stage in stages for pattern in stage.makes))
    for stage in stages:
        work.run.write_made(stage.name, None)
    work.run.forget(*(stage.name for stage in stages))
    print(f"{why}; what was there is kept in {folder}")


def told(parts: tuple, before: dict, now: dict) -> str:
    """What changed in the data, in words."""
    words, follows = [], {"images": ("labels", "true_labels"), "labels": ("true_labels",)}
    for part in (p for p in parts if not any(p in follows.get(other, ()) for other in parts)):
        what, count = PARTS[part]
        counts = (now.get(count), before.get(count))
        same = counts[0] == counts[1]
        words.append(f"other {what} than then" if same else f"{counts[0]} {what} now, {counts[1]} then")
    return "; ".join(words)


def refuse(work: Work, touched: list, because: Changes, changed: Changes, facts: dict) -> None:
    run, made = work.run, made_by(work, touched)
    if not because.parts:
        name, (old, new) = next(iter(because.fields.items()))
        raise UserError(
            f"config.{name} is {old!r} in the run {run.workdir} and {new!r} now, which would change what is done: "
            f"keep {old!r}, take a new --workdir, or delete {made} there to do it again"
        )
    fields = [n for n in changed.fields if n.startswith("data.") or n in because.fields]
    why = "".join(f"; config.{n} is {changed.fields[n][1]!r}, was {changed.fields[n][0]!r}" for n in fields)
    valid = [s.name for s in work.kind.stages if s.job and run.has(*s.makes) and s not in touched]
    again = f"delete {made} there to do it again"
    mode = touched[0].mode
    if not because.fields and any(s.needs_data for s in work.kind.stages if s.mode == mode):
        still = f" above {' and '.join(valid)}, still valid," if valid else ""
        again = f"do it afresh{still} with --mode={mode} (then the same command without it does the rest)"
    raise UserError(
        f"the data are not those that the run {run.workdir} was made with "
        f"({told(because.parts, run.data, facts)}{why}): put them back, take a new --workdir, or {again}"
    )


def refuse_growth(work: Work, stage: Stage, changed: Changes) -> None:
    old, new = changed.fields[stage.grows]
    raise UserError(
        f"config.{stage.grows} is {old!r} in the run {work.run.workdir} and {new!r} now, but {stage.name} cannot be "
        f"trained on: {stage.may_grow(work.config)}; keep {old!r}, or {another_run(work, stage)}"
    )


def refuse_outgrown(work: Work, outgrown: list, growing: set, changed: Changes) -> None:
    grown = next(s for s in work.kind.stages if s.name in growing)
    old, new = changed.fields[grown.grows]
    raise UserError(
        f"config.{grown.grows} is {old!r} in the run {work.run.workdir} and {new!r} now: {grown.name} can be trained "
        f"on, but {listed(outgrown)} was made with it as it is: keep {old!r}, delete {made_by(work, outgrown)} there, "
        f"or {another_run(work, grown)}"
    )


def made_by(work: Work, stages: list) -> str:
    return ", ".join(dict.fromkeys(found for stage in stages for found in work.run.has(*stage.makes)))


def another_run(work: Work, stage: Stage) -> str:
    """How a new run goes on from what a stage has learned, where its fields say how."""
    block, known = stage.grows.split(".")[0], dict(flat(work.kind.fields))
    if f"{block}.init_from" not in known:
        return "take a new --workdir"
    more = f" --config.{block}.warm_start=True" if f"{block}.warm_start" in known else ""
    source = f"--config.{block}.init_from=run:{work.run.workdir}{more}"
    return f"take a new --workdir that begins with its weights, {source}"


def known_sources(work: Work) -> None:
    """Of a run of format 1, what each stage was made from: what there is; its evaluation of the samples that it has
    nearest training images of."""
    run = work.run
    if run.format == 1 and not run.made:
        for stage in (s for s in work.kind.stages if run.has(*s.makes)):
            sources = work.sources(stage)
            if "samples" in stage.uses and run.evaluation:
                sources["samples"] = len(run.evaluation.get("nearest", ()))
            run.write_made(stage.name, sources)
