"""Taking a config into a run's directory: what is made there already must not change under it."""

import json

import jax

from scoressl_jax.errors import UserError
from scoressl_jax.files import write_json

ESTIMATORS = tuple(  # fields of the judge that the classifiers which estimate a class prior share
    f"evaluation.{name}"
    for name in ("batch_size", "judge_depth", "judge_widen", "judge_patch", "judge_learning_rate", "judge_noise")
)
# What each field changes: the first stage that depends on it; later stages follow.
FIRST_STAGE = {
    "seed": "score",
    "dtype": "score",
    "regime": "class prior classifiers",
    "data": "class prior classifiers",
    "data.class_prior": "classifier",
    "data.name": "score",
    "data.image_size": "score",
    "sde": "score",
    "score": "score",
    "classifier": "classifier",
    "sampling": "samples",
    "evaluation": "evaluation",
    **dict.fromkeys((*ESTIMATORS, "evaluation.judge_steps"), "judge"),
    "evaluation.cas_steps": "cas",
    # of the two moons
    "preset": "score",
    "evaluation.sigma": "score",
    "evaluation.scale": "samples",
}
FREE = ("data.path", "data.download", "evaluation.inception_weights", "training")
MADE_BY = {  # patterns of paths
    "score": "checkpoints/score",
    "class prior classifiers": "checkpoints/class_prior_*",
    "class prior": "class_prior.npz",
    "classifier": "checkpoints/classifier*",
    "samples": "samples/samples.npz",
    "judge": "checkpoints/judge",
    "cas": "checkpoints/cas",
    "evaluation": "evaluation.npz",
    "score errors": "score_fields.npz",
}


def flat(config, prefix=""):
    """Nested dicts -> pairs of a dotted name and a value."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def adopt_config(config, workdir, command):
    """Write config.json, refusing a change of a field on which anything already made in `workdir` depends."""
    path, new = workdir / "config.json", json.loads(config.to_json())
    if path.exists():
        try:
            old = dict(flat(json.loads(path.read_text())))
        except (ValueError, AttributeError) as error:
            raise UserError(f"{path} cannot be read ({error}): restore or delete it") from None
        for name, value in sorted(flat(new), key=lambda item: item[0] != "preset"):  # it explains the others
            # A field that the run does not have is newer than the run.
            if name in old and old[name] != value and not name.startswith(FREE):
                refuse_change(workdir, name, old[name], value, first_stage(name, new))
    if jax.process_index() == 0:
        try:
            write_json(path, new)
        except OSError as error:
            raise UserError(f"--workdir={workdir}: {error}: name a directory that can be written") from None
        if command:
            (workdir / "command.txt").write_text(command + "\n")


def first_stage(name, config):
    """The first stage of the run of `config`, as nested dicts, that depends on a field."""
    if name in ESTIMATORS and config.get("regime") == "pu" and not config["data"]["class_prior"]:
        return "class prior classifiers"
    return FIRST_STAGE.get(name) or FIRST_STAGE[name.split(".")[0]]


def refuse_change(workdir, name, old, new, first):
    order = list(MADE_BY)
    later = [s for s in order[order.index(first) :] if (first, s) != ("samples", "judge")]  # a judge sees no samples
    made = [MADE_BY[s] for s in later if any(workdir.glob(MADE_BY[s]))]
    if made:
        raise UserError(
            f"config.{name} is {old!r} in the run {workdir} and {new!r} now, which would change what is done: "
            f"keep {old!r}, take a new --workdir, or delete {', '.join(made)} there to do it again"
        )
