"""The stages of a run in order: score network, classifier, samples, evaluation, report."""

import json
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.data.splits import save_split
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.adoption import adopt_config
from scoressl_jax.experiment.class_prior import class_prior
from scoressl_jax.experiment.init_from import take_score
from scoressl_jax.experiment.judge import Judge, judge_network
from scoressl_jax.experiment.runs import require_finished, run_stages, train_stage
from scoressl_jax.files import write_json, write_npz
from scoressl_jax.metrics import classification
from scoressl_jax.metrics import samples as sample_measures
from scoressl_jax.metrics.features import extractor
from scoressl_jax.metrics.generation import compare_samples
from scoressl_jax.report.page import summary, write_report
from scoressl_jax.sampling.generate import generate, to_uint8
from scoressl_jax.sampling.inverse import shown
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.training.step import by_image, device_mesh, replicated


def train_score(run):
    """Train the score network, or take the weights that config.score.init_from names."""
    if "score" not in run.params:
        if run.config.score.init_from:
            run.params["score"], block = take_score(run.experiment)
        else:
            run.params["score"], block = train_stage(run, jobs.score_job(run.experiment))
        run.record(score=block)
    return run.params["score"]


def train_classifier(run):
    if "classifier" not in run.params:
        job = jobs.classifier_job(run.experiment, finished(run, "score", train_score), class_prior(run))
        run.params["classifier"], block = train_stage(run, job)
        run.record(classifier={"kind": run.config.classifier.kind, **block})
    return run.params["classifier"]


def finished(run, stage, get):
    """Parameters of an earlier stage, which must have been trained to its end."""
    if stage not in run.params and not (stage == "score" and run.config.score.init_from):
        require_finished(run, stage, run.config[stage].steps, f"train_{stage}")
    return get(run)


def sample(run):
    path = run.workdir / "samples" / "samples.npz"
    if path.exists():
        print(f"samples are there: {path}")
        return
    plan, started = run.config.sampling, time.perf_counter()
    classifier = finished(run, "classifier", train_classifier) if plan.scale else None
    parameters = finished(run, "score", train_score), classifier
    conditions = build.sampling_conditions(run.experiment)
    make_sample = partial(build.guided_sampler, run.experiment)
    images = generate(make_sample, parameters, conditions, plan.batch_size, run.config.seed, run.stop)
    name = f"{plan.predictor}+{plan.corrector}" if plan.sampler == "predictor_corrector" else plan.sampler
    calls = build.network_calls(plan)
    forget(run, "samples", "generation")
    run.record(
        samples={
            "count": plan.count,
            "sampler": name,
            **({"steps": plan.steps, "calls": calls} if calls else {}),
            "scale": plan.scale,
            **({"task": plan.task} if plan.task != "none" else {}),
            "seconds": round(time.perf_counter() - started, 1),
        }
    )
    restored = {}
    if "known" in conditions:
        originals = to_uint8(conditions["known"])
        restored = {"originals": originals, "given": shown(plan.task, originals, plan.hidden)}
    if run.first_process:  # last, because the file is what says that this stage is done
        write_npz(path, images=images, labels=conditions["labels"], **restored)


def predictors(run):
    """Compiled (x_t, t) -> logits and (x_t, t, labels) -> grad log p(label) of the trained classifier."""
    parameters = finished(run, "score", train_score), finished(run, "classifier", train_classifier)

    def classifier_fn(parameters):
        return run.experiment.classifier_fn(parameters[1], run.experiment.score_fn(parameters[0]))

    mesh = device_mesh()
    over_devices = lambda x: jax.lax.with_sharding_constraint(x, by_image(mesh))  # noqa: E731
    everywhere = partial(jax.jit, out_shardings=replicated(mesh))
    predict = everywhere(lambda p, x, t: classifier_fn(p)(over_devices(x), t)[0])
    gradient = everywhere(lambda p, x, t, y: guidance.log_likelihood_grad(classifier_fn(p), over_devices(x), t, y))
    return (lambda *a: predict(parameters, *a)), (lambda *a: gradient(parameters, *a))


def evaluate(run):
    path, samples = run.workdir / "evaluation.npz", run.workdir / "samples" / "samples.npz"
    if path.exists() and (not samples.exists() or path.stat().st_mtime >= samples.stat().st_mtime):
        print(f"evaluation is there: {path}")
        return
    arrays = evaluate_classifier(run) | evaluate_samples(run)
    evaluate_likelihood(run)
    if run.first_process:
        write_npz(path, class_names=np.array(run.experiment.dataset.class_names), **arrays)


def evaluate_classifier(run):
    data, sde, plan = run.experiment.dataset, run.experiment.sde, run.config.evaluation
    predict, gradient = predictors(run)
    x, y, batch = data.x_test, data.y_test, plan.batch_size
    print("evaluating the classifier")

    t = np.full(len(x), plan.accuracy_t, np.float32)
    logits = classification.batched(predict, batch, x.astype(np.float32) / 255.0, t)
    probabilities = np.asarray(jax.nn.softmax(logits))
    run.stop.check()
    ece, confidence, accuracy, count = classification.calibration(probabilities, y)
    confusion, per_class = classification.class_table(logits.argmax(-1), y, data.class_names)
    times = np.linspace(plan.accuracy_t, 1.0, plan.times)
    some = np.random.default_rng(0).permutation(len(x))[: plan.curve_images]
    curve = classification.accuracy_by_noise(predict, gradient, sde, x[some], y[some], times, batch)
    block = {
        "accuracy": float((logits.argmax(-1) == y).mean()),
        "accuracy_t": plan.accuracy_t,
        "accuracy_all_noise": classification.accuracy_all_noise(predict, sde, x, y, batch),
        "accuracy_by_noise": curve,
        "ece": ece,
        "per_class": per_class,
    }
    if len(curve) > 1:
        block["accuracy_area"] = classification.accuracy_area(curve)
    if data.num_classes == 2:
        block |= {name: per_class[1][name] for name in ("f1", "precision", "recall")}
    run.record(classifier=block)

    chosen = [int(i) for c in range(data.num_classes) for i in np.flatnonzero(y == c)[:1]][:10]
    t = np.full(len(chosen), plan.gradient_t, np.float32)
    noisy = classification.diffuse(sde, x[chosen], t, run.config.seed)
    shown = run.experiment.split.labeled[:100]
    return {
        "confusion": confusion,
        "reliability_confidence": confidence,
        "reliability_accuracy": accuracy,
        "reliability_count": count,
        "gradient_images": x[chosen],
        "gradient_noisy": noisy,
        "gradient_t": plan.gradient_t,
        "gradients": classification.batched(gradient, batch, noisy, t, y[chosen]),
        "gradient_labels": y[chosen],
        "labeled_images": data.x_train[shown],
        "labeled_labels": run.experiment.y_visible[shown],
    }


def evaluate_samples(run):
    """Class agreement by a judge, and distances to the training images; nothing where there are no samples."""
    path, data = run.workdir / "samples" / "samples.npz", run.experiment.dataset
    batch = run.config.evaluation.batch_size
    if not path.exists():
        return {}
    with np.load(path) as file:
        images, labels = file["images"], file["labels"]
    medians, nearest = sample_measures.distances(images, labels, data.x_train, data.x_test)
    block, arrays = {"nearest_distance": medians}, {"nearest": data.x_train[nearest]}
    judge = None
    if jobs.can_judge(run.experiment):
        trained_on = f"all {len(data.x_train)} labels of the training set"
        judge = trained_judge(run, jobs.judge_job(run.experiment), trained_on)
        arrays["judge_predictions"] = judge.outputs(images, batch)["logits"].argmax(-1)
        block |= {
            "class_agreement": float((arrays["judge_predictions"] == labels).mean()),
            "class_agreement_judge": f"{judge.name}, never used for guidance",
            "judge_accuracy": judge.accuracy(data.x_test, data.y_test, batch),
        }
    run.record(samples=block)
    evaluate_generation(run, images, labels, judge)
    return arrays


def evaluate_likelihood(run):
    """Bits per dimension of test images under the score network; nothing where none are asked for."""
    plan, sde, x = run.config.evaluation, run.experiment.sde, run.experiment.dataset.x_test
    forget(run, "likelihood")
    if not plan.likelihood_images:
        return
    from scoressl_jax.metrics.likelihood import bits_per_dim  # its ODE solver takes a second to import

    chosen = np.random.default_rng(0).permutation(len(x))[: plan.likelihood_images]
    print(f"likelihood of {len(chosen):,} test images")
    params, key, mesh = finished(run, "score", train_score), jax.random.key(run.config.seed), device_mesh()

    @partial(jax.jit, out_shardings=replicated(mesh))
    def measure(params, indices, images):
        images = jax.lax.with_sharding_constraint(images, by_image(mesh))
        score_fn = run.experiment.score_fn(params)
        return bits_per_dim(image_keys(key, indices), score_fn, sde, images, plan.divergence, plan.likelihood_tolerance)

    bits = classification.batched(partial(measure, params), plan.batch_size, chosen, x[chosen])
    run.stop.check()
    if not np.isfinite(bits).all():
        raise UserError(
            f"likelihood: {np.isnan(bits).sum()} of {len(bits)} images took too many steps: raise "
            "config.evaluation.likelihood_tolerance, or set likelihood_images=0"
        )
    run.record(likelihood={f"bits_per_dim@{len(bits)}": float(bits.mean()), "divergence": plan.divergence})


def trained_judge(run, job, trained_on):
    params, _ = train_stage(run, job)
    return Judge(judge_network(run.config.evaluation, run.experiment.num_classes), params, trained_on)


def evaluate_generation(run, images, labels, judge):
    """Samples against real images, and the classification accuracy score; nothing where there are no features."""
    plan, data = run.config.evaluation, run.experiment.dataset
    forget(run, "generation")
    features = extractor(plan.features, judge, plan.inception_weights, plan.batch_size)
    if features is None:
        return
    x, y = (data.x_train, data.y_train) if plan.reference == "train" else (data.x_test, data.y_test)
    real = x, y if (y >= 0).all() else None  # a few labelled images would stand badly for their class
    print(f"comparing {len(images):,} samples with {len(x):,} {plan.reference} images by {features.name}")
    block, warnings = compare_samples(
        features, real, (images, labels), data.class_names, plan.k, plan.convention, run.config.seed
    )
    if plan.cas_steps:
        job = jobs.measuring_job(
            "cas", run.config, images, labels, data.num_classes, plan.cas_steps, augment=jobs.changes_of(run.config)
        )
        block["cas"] = trained_judge(run, job, "samples").accuracy(data.x_test, data.y_test, plan.batch_size)
    run.record(generation={"reference": plan.reference, **block})
    if run.first_process:
        print("\n".join(warnings))


def forget(run, *names):
    """Take blocks out of results.json: figures of other samples, or whose names hold another count, would stay."""
    path = run.workdir / "results.json"
    if run.first_process:
        write_json(path, {key: block for key, block in json.loads(path.read_text()).items() if key not in names})


def report(run):
    if run.first_process:
        write_report(run.workdir)
        print(summary(run.workdir))


STAGES = (train_score, train_classifier, sample, evaluate, report)


def execute(mode, config, workdir, command):
    """Run one stage, or all of them in order (`run`), in `workdir`; `check` is in check.py."""
    workdir = Path(workdir)
    experiment = build.build(config)
    adopt_config(config, workdir, command)
    if jax.process_index() == 0:
        save_split(workdir / "labels.json", experiment.split, config.data.split_seed)
    data = {
        "name": experiment.dataset.name,
        "num_classes": experiment.num_classes,
        "num_train": len(experiment.dataset.x_train),
        "num_labeled": len(experiment.split.labeled),
        "num_unlabeled": len(experiment.split.unlabeled),
        "num_test": len(experiment.dataset.x_test),
    }
    run_stages(mode, STAGES, experiment, workdir, data)
