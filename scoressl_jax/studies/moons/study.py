"""The stages of the two-moons study: score networks, classifiers, samples, score errors, report.

Methods, by the names of the paper's table 1: (a) base: a classifier trained with cross-entropy, (b) scaling: its
gradient times alpha, (c) posterior_sm: a score network of each class, (d) dlsm_ce, and dlsm alone, (e) oracle.
"""

import itertools
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from scoressl_jax import guidance
from scoressl_jax.devices import by_image, device_mesh, replicated
from scoressl_jax.experiment.fields import config_of
from scoressl_jax.experiment.stages import Kind, Stage, trained
from scoressl_jax.metrics.manifold import precision_recall
from scoressl_jax.metrics.score_error import PUBLISHED_EPS, mean_distance, oracle
from scoressl_jax.sampling.langevin import langevin
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.studies.moons import jobs
from scoressl_jax.studies.moons.config import FIELDS, LOSSES
from scoressl_jax.studies.moons.page import summary, write_report
from scoressl_jax.studies.moons.points import CLASS_NAMES

CLASSIFIER_OF = {"base": "ce", "scaling": "ce", "dlsm": "dlsm", "dlsm_ce": "dlsm_ce"}
METHODS = ("base", "scaling", "posterior_sm", "dlsm", "dlsm_ce", "oracle")
CLASSIFIERS = tuple(f"classifier_{loss}" for loss in LOSSES)


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
        return lambda x, t: guidance.guided_score(score_fn, classifier_fn, jnp.full(len(x), label), scale=scale)(x, t)

    return {"guided": guided, "own": study.score_fn, "oracle": lambda points: parzen(points, study.sde)}


def arrays_of(work, method, label):
    """(kind, arrays) of a method's posterior score of class `label`."""
    study, score = work.experiment, work.params("score")
    if method == "oracle":
        return "oracle", jnp.asarray(study.points[study.labels == label][::ORACLE_THINNING], jnp.float32)
    if method == "posterior_sm":
        return "own", jobs.one(score, (jobs.UPPER, jobs.LOWER)[label])
    classifier = jobs.one(work.params(f"classifier_{CLASSIFIER_OF[method]}"), 0)
    scale = study.config.evaluation.scale if method == "scaling" else 1.0
    return "guided", (jobs.one(score, jobs.PRIOR), classifier, jnp.float32(scale), label)


# Samples


def samplers(study):
    """{name: (keys, score_fn) -> x [B, 2]}."""
    s = study.config.sampling
    swapped = s.langevin_rule == "published"
    times = np.arange(s.langevin_steps) / s.langevin_steps if swapped else np.full(s.langevin_steps, study.time)
    return {
        "langevin": lambda keys, score_fn: langevin(
            keys, score_fn, times, (2,), step=s.langevin_step, swapped=swapped
        ),
        "reverse_sde": lambda keys, score_fn: predictor_corrector(
            keys, score_fn, study.sde, (2,), steps=s.reverse_steps, corrector="none"
        ),
    }


def drawer(study, sampler, mesh):
    """`(kind, arrays, key) -> samples [count, 2]`, one key a sample, split over the devices."""

    def draw(kind, arrays, key):
        keys = image_keys(key, jnp.arange(study.config.sampling.count))
        keys = jax.lax.with_sharding_constraint(keys, by_image(mesh))
        return sampler(keys, kinds(study)[kind](arrays))

    return draw


def sample(work):
    """samples/samples.npz: SAMPLER_METHOD_CLASS `[count, 2]` for every one."""
    study, mesh, found, started = work.experiment, device_mesh(), {}, time.perf_counter()
    bar = tqdm(
        total=len(METHODS) * 2 * len(jobs.CLASSES),
        desc="sample",
        unit="set",
        disable=not work.first_process,
        file=sys.stdout,
    )
    for name, sampler in samplers(study).items():
        draw = jax.jit(drawer(study, sampler, mesh), static_argnums=0, out_shardings=replicated(mesh))
        for method, label in itertools.product(METHODS, jobs.CLASSES):
            work.stop.check()
            key = jax.random.fold_in(jax.random.key(work.config.seed), label)
            found[f"{name}_{method}_{label}"] = np.asarray(draw(*arrays_of(work, method, label), key))
            bar.update()
    bar.close()
    work.run.record(samples={"count": work.config.sampling.count, "seconds": round(time.perf_counter() - started, 1)})
    work.run.write_arrays("samples", **found)  # last, because the file is what says that this stage is done


# Score errors


def evaluate(work):
    started = time.perf_counter()
    fields, study, drawn = score_fields(work), work.experiment, work.run.samples
    published = oracle(study.at, study.points, study.labels, work.config.evaluation.sigma, PUBLISHED_EPS)
    oracles = {"exact": (study.posterior, study.prior), "published": published}
    errors = {m: {str(c): score_errors(fields, m, c, oracles) for c in jobs.CLASSES} for m in METHODS}
    if drawn:
        for method, c in itertools.product(METHODS, jobs.CLASSES):
            errors[method][str(c)] |= sample_measures(study, drawn, method, c)
    work.run.record_data()
    work.run.record(score_error=errors, evaluation={"seconds": round(time.perf_counter() - started, 1)})
    work.run.write_arrays("score_fields", **fields)


def score_fields(work):
    """{"points", "METHOD_posterior_CLASS", "METHOD_likelihood_CLASS"} on the grid, float64 for the (exact) oracle."""
    study = work.experiment
    x, t = jobs.on_grid(study)
    fields = {"points": study.at}
    for c in jobs.CLASSES:
        fields[f"oracle_posterior_{c}"] = study.posterior[c]
        fields[f"oracle_likelihood_{c}"] = study.posterior[c] - study.prior
        fields[f"posterior_sm_posterior_{c}"] = np.asarray(study.score_fn(arrays_of(work, "posterior_sm", c)[1])(x, t))
    for method in CLASSIFIER_OF:
        for c in jobs.CLASSES:
            _, (score, classifier, scale, _) = arrays_of(work, method, c)
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


def report(work):
    if work.first_process:
        write_report(work.run)
        print(summary(work.run))


def train_score_block(work, measured):
    return {"score": measured | {"networks": 3, "parameters": measured["parameters"] // 3}}


def classifier_block(work, measured):
    """Of all losses together; seconds are those of the ones that are there."""
    runs = work.config.classifier.runs
    seconds = [work.run.last_logged(name).get("seconds", 0) for name in CLASSIFIERS]
    return {
        "classifier": {
            "losses": list(LOSSES),
            "runs": runs,
            "parameters": measured["parameters"] // runs,
            "steps": measured["steps"],
            "seconds": round(sum(seconds), 3),
        }
    }


def classifier_stage(loss):
    return trained(
        f"classifier_{loss}",
        mode="train_classifier",
        job=lambda work: jobs.classifier_job(work.experiment, loss, work.params("score")),
        block=classifier_block,
        steps=lambda config: config.classifier.steps,
        schedule=lambda config: config.classifier.schedule,
        grows="classifier.steps",
        needs=lambda config: ("score",),
        reads=("seed", "preset", "sde", "classifier", "evaluation.sigma"),
        data=("images", "labels"),
    )


STAGES = (
    trained(
        "score",
        mode="train_score",
        job=lambda work: jobs.score_job(work.experiment),
        block=train_score_block,
        steps=lambda config: config.score.steps,
        schedule=lambda config: config.score.schedule,
        grows="score.steps",
        reads=("seed", "preset", "sde", "score", "evaluation.sigma"),
        data=("images", "labels"),
    ),
    *(classifier_stage(loss) for loss in LOSSES),
    Stage(
        name="samples",
        mode="sample",
        run=sample,
        needs=lambda config: ("score", *CLASSIFIERS),
        reads=("seed", "sampling", "evaluation.scale"),
        makes=("samples/samples.npz",),
        extent=lambda run: int(bool(run.samples)),
        renewed=True,
    ),
    Stage(
        name="evaluation",
        mode="evaluate",
        run=evaluate,
        needs=lambda config: ("score", *CLASSIFIERS),
        uses=("samples",),
        reads=("seed", "evaluation"),
        makes=("score_fields.npz",),
        extent=lambda run: int(bool(run.arrays("score_fields"))),
        renewed=True,
    ),
    Stage(name="report", mode="report", run=report, every_time=True, needs_data=False),
)


def facts(study):
    return {
        "name": "moons",
        "class_names": list(CLASS_NAMES),
        "image_shape": [2],
        "num_classes": len(CLASS_NAMES),
        "num_train": len(study.points),
        "num_labeled": len(study.points),
        "fingerprint": {"images": "two moons", "labels": "two moons"},  # they are the same everywhere
    }


MOONS = Kind(
    fields=FIELDS,
    choices={},
    build=jobs.build,
    open=lambda run, config=None: jobs.make_study(config or config_of(run.config, FIELDS)),
    stages=STAGES,
    facts=facts,
    split=lambda study: None,
    described=lambda study: f"moons: {len(study.points)} points, all labelled, 2 classes",
)
