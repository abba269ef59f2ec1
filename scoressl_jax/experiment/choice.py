"""Which method, how strong its augmentation, and when to stop: chosen by labelled images that were left out.

Where config.teacher.method is `auto`, every candidate learns from the labels without a fold of them and is asked about
that fold, as often as there are folds. What people use instead is always among the candidates, so that what is returned
is no worse than it is, as far as so few labels can tell.
"""

import dataclasses
import time

import jax
import numpy as np

from scoressl_jax.devices import device_mesh, replicated
from scoressl_jax.experiment.jobs import teacher_job
from scoressl_jax.experiment.teacher import AUTO, Teacher, build_network
from scoressl_jax.methods.baselines import Baseline, fit
from scoressl_jax.metrics.classification import standard_error
from scoressl_jax.training.step import make_multi_update

# {name: fields of config.teacher}, in the order in which equals are preferred.
NETWORKS = {
    "mean_teacher": {"method": "mean_teacher"},
    "mean_teacher, gently augmented": {"method": "mean_teacher", "strength": 0.3},
    "mean_teacher, mirrored too": {"method": "mean_teacher", "flip": True},
    "labels alone": {"method": "supervised"},
    "labels alone, gently augmented": {"method": "supervised", "strength": 0.3},
    "labels alone, mirrored too": {"method": "supervised", "flip": True},
}
INSTEAD = {"support vector machine": "svm", "logistic regression": "logistic"}
SHARES = (0.25, 0.5, 1.0)  # of the steps, after which a network is asked; the first that is not clearly worse is taken


def folds_of(y, most: int, seed: int) -> list[np.ndarray]:
    """Indices into `y` of each fold, every class in each; none where a class has fewer than two."""
    count = min(most, np.bincount(y)[np.unique(y)].min())
    if count < 2:
        return []
    fold, rng = np.empty(len(y), int), np.random.default_rng([seed, 3])
    for label in np.unique(y):
        mine = rng.permutation(np.flatnonzero(y == label))
        fold[mine] = (np.arange(len(mine)) + label) % count
    return [np.flatnonzero(fold == i) for i in range(count)]


def configured(experiment, fields: dict):
    """The experiment with fields of config.teacher changed."""
    config = experiment.config.copy_and_resolve_references()
    config.teacher.update(fields)
    return dataclasses.replace(experiment, config=config)


def network_rights(experiment, labeled, left_out) -> np.ndarray:
    """Whether each left-out image is classified rightly after each of SHARES of the teacher's steps, [3, n]."""
    teacher, data, mesh = experiment.config.teacher, experiment.dataset, device_mesh()
    job = teacher_job(experiment, labeled=labeled)
    run, key = make_multi_update(job.update, mesh), jax.random.key(job.seed)
    state, arrays = jax.device_put((job.init_state(), job.arrays), replicated(mesh))
    network, step, rights = build_network(teacher, experiment.num_classes, experiment.config.dtype), 0, []
    for share in SHARES:
        until = max(round(share * job.steps), 1)
        while step < until:
            count = min(job.steps_per_call, until - step)
            state, _ = run(state, arrays, (), job.indices(step, 0, count), count, key)
            step += count
        found = Teacher.on(network, state.ema_params, data.x_train).outputs(data.x_train[left_out])["logits"]
        rights.append(found.argmax(-1) == data.y_train[left_out])
    return np.array(rights)


def tried(experiment, fields: dict, folds: list) -> dict:
    """{"share", "error", "stop", "seconds"} of a network: its share right over all folds, and when to stop it."""
    started, labeled = time.perf_counter(), experiment.split.labeled
    experiment = configured(experiment, fields | {"steps": experiment.config.teacher.choice_steps})
    rights = np.concatenate(
        [network_rights(experiment, np.delete(labeled, fold), labeled[fold]) for fold in folds], axis=1
    )
    shares = rights.mean(1)
    best = earliest(shares, standard_error(shares.max(), rights.shape[1]))
    block = {"share": float(shares[best]), "error": standard_error(float(shares[best]), rights.shape[1])}
    return {**block, "stop": SHARES[best], "seconds": time.perf_counter() - started}


def earliest(shares, error: float) -> int:
    """The last of the SHARES, unless an earlier one was better by more than a standard error: then the best."""
    return int(np.argmax(shares)) if shares.max() > shares[-1] + error else len(shares) - 1


def fitted_instead(experiment, name: str, seconds: float | None = None) -> Baseline:
    """What people use instead, fitted to the images and labels that training may see."""
    data, split = experiment.dataset, experiment.split
    x, y = data.x_train[split.labeled], data.y_train[split.labeled]
    return fit(name, x, y, data.x_train[split.unlabeled], experiment.config.seed, seconds, data.num_classes)


def tried_instead(experiment, name: str) -> dict:
    found = fitted_instead(experiment, name)
    share, error, _ = found.cross_validated
    return {"share": share, "error": error, "seconds": found.seconds, "setting": found.chosen}


def amount(work) -> str:
    """How much there is to do, for --mode=check."""
    teacher = work.config.teacher
    trained = f"{len(NETWORKS)} networks, {teacher.choice_steps} steps on each of {teacher.folds} folds"
    return f"{trained}, and {len(INSTEAD)} others"


def choose(work) -> None:
    """Make choice.json: every candidate with its share right, and the one that speaks. Goes on where it was stopped."""
    experiment, run = work.experiment, work.run
    y, seed = experiment.dataset.y_train[experiment.split.labeled], work.config.seed
    folds, known = folds_of(y, work.config.teacher.folds, seed), run.choice
    candidates = known.get("candidates", {})
    if folds:
        for number, name in enumerate((*NETWORKS, *INSTEAD), 1):
            work.stop.check()
            if name not in candidates:
                trial = tried(experiment, NETWORKS[name], folds) if name in NETWORKS else None
                candidates[name] = trial or tried_instead(experiment, INSTEAD[name])
                run.write("choice.json", {"candidates": candidates})
            share, error = candidates[name]["share"], candidates[name]["error"]
            if work.first_process:
                print(
                    f"candidate {number} of {len(NETWORKS) + len(INSTEAD)}: {name}: {100 * share:.1f} ± "
                    f"{100 * error:.1f} % of {len(y)} labelled images right, left out of {len(folds)} folds",
                    flush=True,
                )
    run.write("choice.json", decided(candidates))
    run.record(choice={"seconds": round(sum(of["seconds"] for of in candidates.values()), 1)})
    if work.first_process:
        print(f"{run.choice['speaks']}: {run.choice['why']}", flush=True)


def decided(candidates: dict) -> dict:
    """choice.json: what speaks, which network is trained, and why."""
    if not candidates:
        network = next(iter(NETWORKS))
        why = "too few labels to compare candidates: it takes two of each class"
        return {"speaks": network, "network": network, "stop": 1.0, "why": why}
    best = lambda names: max(names, key=lambda name: candidates[name]["share"])  # noqa: E731
    network, speaks = best(NETWORKS), best(candidates)
    second = best([name for name in candidates if name != speaks])
    words = [f"{n} {100 * candidates[n]['share']:.1f} ± {100 * candidates[n]['error']:.1f} %" for n in (speaks, second)]
    equal = sum(of["share"] == candidates[speaks]["share"] for of in candidates.values())
    why = f"most of the labelled images right when they were left out: {words[0]}, next {words[1]}"
    if equal > 1:
        why = f"{equal} candidates had as many of the labelled images right when left out, {words[0]}: the first"
    stop = candidates[network]["stop"]
    return {"candidates": candidates, "speaks": speaks, "network": network, "stop": stop, "why": why}


def chosen(work):
    """The experiment as the choice has it; before there is one, as in --mode=check, with the first candidate."""
    if work.config.teacher.method != AUTO:
        return work.experiment
    name = work.run.choice.get("network", next(iter(NETWORKS)))
    return configured(work.experiment, NETWORKS[name] | {"stop": work.run.choice.get("stop", 1.0)})
