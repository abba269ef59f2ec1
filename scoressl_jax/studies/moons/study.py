"""The stages of the two-moons study: score networks, classifiers, samples, score errors, report.

Methods, by the names of the paper's table 1: (a) base: a classifier trained with cross-entropy, (b) scaling: its
gradient times alpha, (c) posterior_sm: a score network of each class, (d) dlsm_ce, and dlsm alone, (e) oracle.
"""

import itertools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from scoressl_jax import guidance
from scoressl_jax.experiment.adoption import adopt_config
from scoressl_jax.experiment.estimate import report_job
from scoressl_jax.experiment.runs import require_finished, run_stages, train_stage
from scoressl_jax.files import write_npz
from scoressl_jax.metrics.manifold import precision_recall
from scoressl_jax.metrics.score_error import PUBLISHED_EPS, mean_distance, oracle
from scoressl_jax.sampling.langevin import langevin
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.studies.moons import jobs
from scoressl_jax.studies.moons.config import LOSSES
from scoressl_jax.studies.moons.page import summary, write_report
from scoressl_jax.training.step import by_image, device_mesh, replicated

CLASSIFIER_OF = {"base": "ce", "scaling": "ce", "dlsm": "dlsm", "dlsm_ce": "dlsm_ce"}
METHODS = ("base", "scaling", "posterior_sm", "dlsm", "dlsm_ce", "oracle")


# Training


def train_score(run):
    if "score" not in run.params:
        run.params["score"], block = train_stage(run, jobs.score_job(run.experiment))
        run.record(score=block | {"networks": 3, "parameters": block["parameters"] // 3})
    return run.params["score"]


def train_classifier(run):
    """The classifiers of every loss, `{loss: stack}`."""
    if "classifier" not in run.params:
        score, runs, blocks = finished_score(run), run.config.classifier.runs, []
        run.params["classifier"] = {}
        for loss in LOSSES:
            run.params["classifier"][loss], block = train_stage(run, jobs.classifier_job(run.experiment, loss, score))
            blocks.append(block)
        run.record(
            classifier={
                "losses": list(LOSSES),
                "runs": runs,
                "parameters": blocks[0]["parameters"] // runs,
                "steps": blocks[0]["steps"],
                "seconds": round(sum(block.get("seconds", 0) for block in blocks), 3),
            }
        )
    return run.params["classifier"]


def finished_score(run):
    if "score" not in run.params:
        require_finished(run, "score", run.config.score.steps, "train_score")
    return train_score(run)


def finished_classifiers(run):
    if "classifier" not in run.params:
        for loss in LOSSES:
            require_finished(run, f"classifier_{loss}", run.config.classifier.steps, "train_classifier")
    return train_classifier(run)


# Score functions of the methods: `kinds` maps arrays to a score function, `arrays_of` a method and class to arrays.


ORACLE_THINNING = 5  # sampling with the oracle takes every fifth point of a class: 1,000 on the half circle


def parzen(points, sde):
    """The score function of `points [I, 2]` in float32, for sampling; score errors take the float64 one."""
    weighed = jnp.concatenate([points, jnp.ones((len(points), 1))], axis=1)

    def score_fn(x, t):
        variance = sde.marginal(t)[1][:, None] ** 2
        log_w = -((x[:, :1] - points[:, 0]) ** 2 + (x[:, 1:] - points[:, 1]) ** 2) / (2 * variance)
        sums = jnp.exp(log_w - log_w.max(-1, keepdims=True)) @ weighed
        return (sums[:, :2] / sums[:, 2:] - x) / variance

    return score_fn


def kinds(study):
    def guided(arrays):
        score, classifier, scale, label = arrays
        classifier_fn, score_fn = study.classifier_fn(classifier), study.score_fn(score)
        return lambda x, t: guidance.guided_score(score_fn, classifier_fn, jnp.full(len(x), label), scale)(x, t)

    return {"guided": guided, "own": study.score_fn, "oracle": lambda points: parzen(points, study.sde)}


def arrays_of(run, method, label):
    """(kind, arrays) of a method's posterior score of class `label`."""
    study, score = run.experiment, finished_score(run)
    if method == "oracle":
        return "oracle", jnp.asarray(study.points[study.labels == label][::ORACLE_THINNING], jnp.float32)
    if method == "posterior_sm":
        return "own", jobs.one(score, (jobs.UPPER, jobs.LOWER)[label])
    classifier = jobs.one(finished_classifiers(run)[CLASSIFIER_OF[method]], 0)
    scale = study.config.evaluation.scale if method == "scaling" else 1.0
    return "guided", (jobs.one(score, jobs.PRIOR), classifier, jnp.float32(scale), label)


# Samples


def samplers(study):
    """{name: (keys, score_fn) -> x [B, 2]}."""
    s = study.config.sampling
    swapped = s.langevin_rule == "published"
    times = np.arange(s.langevin_steps) / s.langevin_steps if swapped else np.full(s.langevin_steps, study.time)
    return {
        "langevin": lambda keys, score_fn: langevin(keys, score_fn, times, (2,), s.langevin_step, swapped),
        "reverse_sde": lambda keys, score_fn: predictor_corrector(
            keys, score_fn, study.sde, (2,), s.reverse_steps, corrector="none"
        ),
    }


def drawer(study, sampler, mesh):
    """`(kind, arrays, key) -> samples [count, 2]`, one key a sample, split over the devices."""

    def draw(kind, arrays, key):
        keys = image_keys(key, jnp.arange(study.config.sampling.count))
        keys = jax.lax.with_sharding_constraint(keys, by_image(mesh))
        return sampler(keys, kinds(study)[kind](arrays))

    return draw


def sample(run):
    """samples/samples.npz: SAMPLER_METHOD_CLASS `[count, 2]` for every one."""
    path, study = run.workdir / "samples" / "samples.npz", run.experiment
    if path.exists():
        print(f"samples are there: {path}")
        return
    mesh, found, started = device_mesh(), {}, time.perf_counter()
    bar = tqdm(
        total=len(METHODS) * 2 * len(jobs.CLASSES),
        desc="sample",
        unit="set",
        disable=not run.first_process,
        file=sys.stdout,
    )
    for name, sampler in samplers(study).items():
        draw = jax.jit(drawer(study, sampler, mesh), static_argnums=0, out_shardings=replicated(mesh))
        for method, label in itertools.product(METHODS, jobs.CLASSES):
            run.stop.check()
            key = jax.random.fold_in(jax.random.key(run.config.seed), label)
            found[f"{name}_{method}_{label}"] = np.asarray(draw(*arrays_of(run, method, label), key))
            bar.update()
    bar.close()
    run.record(samples={"count": run.config.sampling.count, "seconds": round(time.perf_counter() - started, 1)})
    if run.first_process:  # last, because the file is what says that this stage is done
        write_npz(path, **found)


# Score errors


def evaluate(run):
    path, samples = run.workdir / "score_fields.npz", run.workdir / "samples" / "samples.npz"
    if path.exists() and samples.exists() and path.stat().st_mtime >= samples.stat().st_mtime:
        print(f"score errors are there: {path}")
        return
    fields, study = score_fields(run), run.experiment
    published = oracle(study.at, study.points, study.labels, run.config.evaluation.sigma, PUBLISHED_EPS)
    oracles = {"exact": (study.posterior, study.prior), "published": published}
    errors = {m: {str(c): score_errors(fields, m, c, oracles) for c in jobs.CLASSES} for m in METHODS}
    if samples.exists():
        with np.load(samples) as drawn:
            for method, c in itertools.product(METHODS, jobs.CLASSES):
                errors[method][str(c)] |= sample_measures(study, drawn, method, c)
    run.record(score_error=errors)
    if run.first_process:
        write_npz(path, **fields)


def score_fields(run):
    """{"points", "METHOD_posterior_CLASS", "METHOD_likelihood_CLASS"} on the grid, float64 for the (exact) oracle."""
    study = run.experiment
    x, t = jobs.on_grid(study)
    fields = {"points": study.at}
    for c in jobs.CLASSES:
        fields[f"oracle_posterior_{c}"] = study.posterior[c]
        fields[f"oracle_likelihood_{c}"] = study.posterior[c] - study.prior
        fields[f"posterior_sm_posterior_{c}"] = np.asarray(study.score_fn(arrays_of(run, "posterior_sm", c)[1])(x, t))
    for method in CLASSIFIER_OF:
        for c in jobs.CLASSES:
            _, (score, classifier, scale, _) = arrays_of(run, method, c)
            g = guidance.log_likelihood_grad(study.classifier_fn(classifier), x, t, jnp.full(len(x), c))
            likelihood = scale * g
            fields[f"{method}_likelihood_{c}"] = np.asarray(likelihood)
            fields[f"{method}_posterior_{c}"] = np.asarray(study.score_fn(score)(x, t) + likelihood)
    return fields


def score_errors(fields, method, c, oracles):
    """{oracle: {"D_P", "D_L"}} of a method and class; D_L where the method has a likelihood score."""
    out = {}
    for name, (posterior, prior) in oracles.items():
        out[name] = {"D_P": mean_distance(fields[f"{method}_posterior_{c}"], posterior[c])}
        if f"{method}_likelihood_{c}" in fields:
            out[name]["D_L"] = mean_distance(fields[f"{method}_likelihood_{c}"], posterior[c] - prior)
    return out


def sample_measures(study, drawn, method, c):
    """{sampler: precision, recall, density, coverage}: of Langevin samples against noisy points, of samples of the
    reverse SDE against points; of either as many as there are samples, drawn by the seed."""
    e, rng = study.config.evaluation, np.random.default_rng([study.config.seed, c])
    points = study.points[study.labels == c]
    out = {}
    for name, sigma in (("langevin", e.sigma), ("reverse_sde", 0.0)):
        found = drawn[f"{name}_{method}_{c}"]
        real = points[rng.permutation(np.resize(np.arange(len(points)), len(found)))]
        out[name] = precision_recall(real + sigma * rng.standard_normal(real.shape), found, e.neighbours)
    return out


def report(run):
    if run.first_process:
        write_report(run.workdir)
        print(summary(run.workdir))


STAGES = (train_score, train_classifier, sample, evaluate, report)


def execute(mode, config, workdir, command):
    """Run one stage, or all of them in order (`run`), in `workdir`."""
    study = jobs.build(config)
    adopt_config(config, Path(workdir), command)
    data = {"name": "moons", "num_classes": 2, "num_train": len(study.points), "num_labeled": len(study.points)}
    run_stages(mode, STAGES, study, workdir, data)


def check(config):
    """--mode=check: parameter counts, memory and a time estimate from a few timed steps."""
    study = jobs.build(config)
    print(f"data        moons: {len(study.points)} points, all labelled, 2 classes")
    score_params = report_job(jobs.score_job(study))
    for loss in LOSSES:
        report_job(jobs.classifier_job(study, loss, score_params))
