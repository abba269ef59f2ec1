"""The part of report.html that says how long a run took, when, by which versions and on which machine."""

from scoressl_jax.report.html import paragraph, table


def timed(run):
    """(stage, its block of results.json) of every stage that took time, in the order in which they were done."""
    return [(name, block) for name, block in run.results.items() if "seconds" in block]


def times(run):
    """A table of the stages and, where it is known, what they were done on."""
    rows = [
        (stage, *(block.get(key) for key in ("seconds", "steps", "parameters")), run.made_on.get(stage, {}).get("date"))
        for stage, block in timed(run)
    ]
    if len(rows) > 1:
        rows.append(("together", round(sum(row[1] for row in rows), 1), "", "", ""))
    found = table(("Stage", "Seconds", "Steps", "Parameters", "Done on"), rows, "numbers")
    return found + "".join(paragraph(line) for line in machines(run))


def machines(run):
    """A line for each machine and set of versions that the stages were done on."""
    found = {}
    for stage, facts in run.made_on.items():
        kept = {name: value for name, value in facts.items() if name != "date"}
        found.setdefault(tuple(kept.items()), []).append((stage, facts.get("date", "")))
    lines = []
    for facts, stages in found.items():
        dates = sorted({date for _, date in stages})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        which = "Made" if len(found) == 1 else f"Made ({', '.join(stage for stage, _ in stages)})"
        lines.append(f"{which} on {when} {described(dict(facts))}.")
    return lines


def described(facts):
    """The machine and versions of a record of made_on.json, in words."""
    cores = f"{facts['cores']} core{'s' * (facts['cores'] != 1)} of {facts['processor']}"
    devices = f"{facts['devices']} {facts['platform'].upper()} device{'s' * (facts['devices'] != 1)}"
    if facts["device"] not in ("cpu", facts["platform"]):
        devices += f" ({facts['device']})"
    return f"by scoressl_jax {facts['scoressl_jax']} with jax {facts['jax']} on {devices}, {cores}"
