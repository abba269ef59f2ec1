"""What a finished classifier and its samples are worth: every figure of results.json, and the arrays of evaluation.npz.

The data that the figures were measured on are their block `data`.
"""

import time
from functools import partial

import jax
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.devices import batched, by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.data import features_of
from scoressl_jax.experiment.judge import Judge, can_judge, judge_network
from scoressl_jax.experiment.progress import progress_bar
from scoressl_jax.experiment.speaker import opened
from scoressl_jax.metrics import classification
from scoressl_jax.metrics import samples as sample_measures
from scoressl_jax.metrics.features import extractor
from scoressl_jax.metrics.generation import compare_samples
from scoressl_jax.sampling.loop import image_keys

POSITIVE = 1  # of two classes, the one that precision, recall and F1 are of
SHOWN = 100  # labelled images that the report may show


def predictors(work):
    """Compiled (x_t, t) -> logits and (x_t, t, labels) -> grad log p(label) of the trained classifier."""
    parameters, experiment, mesh = (work.params("score"), work.params("classifier")), work.experiment, device_mesh()

    def classifier_fn(parameters):
        return experiment.classifier_fn(parameters[1], experiment.score_fn(parameters[0]))

    over_devices = lambda x: jax.lax.with_sharding_constraint(x, by_image(mesh))  # noqa: E731
    everywhere = partial(jax.jit, out_shardings=replicated(mesh))
    predict = everywhere(lambda p, x, t: classifier_fn(p)(over_devices(x), t)[0])
    gradient = everywhere(lambda p, x, t, y: guidance.log_likelihood_grad(classifier_fn(p), over_devices(x), t, y))
    parameters = jax.device_put(parameters, replicated(mesh))
    return partial(predict, parameters), partial(gradient, parameters)


def evaluate(work) -> None:
    """Everything that is measured; evaluation.npz comes last, because it is what says that this stage is done."""
    started = time.perf_counter()
    work.run.record_data()
    evaluate_teacher(work)
    arrays = evaluate_classifier(work) | evaluate_samples(work)
    evaluate_likelihood(work)
    work.run.record(evaluation={"seconds": round(time.perf_counter() - started, 1)})
    work.run.write_arrays("evaluation", class_names=np.array(work.experiment.class_names), **arrays)


def evaluate_teacher(work) -> None:
    """Accuracy of who labels clean images, where that is not the classifier."""
    data, found = work.experiment.dataset, opened(work.run, work.config, work.experiment.num_classes)
    if found:
        right = found.probabilities(data.x_test).argmax(-1) == data.y_test
        work.run.record(teacher=shares(len(right), accuracy=float(right.mean())))


def evaluate_classifier(work) -> dict:
    data, plan = work.experiment.dataset, work.config.evaluation
    predict, gradient = predictors(work)
    print("evaluating the classifier")
    logits = clean_logits(work, predict)
    work.stop.check()
    reliability, block = classifier_figures(logits, data.y_test, data.class_names)
    block |= {"accuracy_t": plan.accuracy_t} | figures_by_noise(work, predict, gradient)
    work.run.record(classifier=block)
    return reliability | gradient_pictures(work, gradient) | labelled_pictures(work)


def clean_logits(work, predict) -> np.ndarray:
    """Logits `[N, C]` of the test images as they are, told that their noise is that of accuracy_t."""
    x, plan = work.experiment.dataset.x_test, work.config.evaluation
    t = np.full(len(x), plan.accuracy_t, np.float32)
    return batched(lambda x, t: predict(x.astype(np.float32) / 255.0, t), plan.batch_size, x, t)


def shares(count, **figures) -> dict:
    """Shares of `count` images, each with its standard error."""
    errors = {f"{name}_standard_error": classification.standard_error(share, count) for name, share in figures.items()}
    return figures | errors


def classifier_figures(logits, y, class_names) -> tuple[dict, dict]:
    """(arrays of evaluation.npz, block `classifier`) of logits `[N, C]` of clean images of classes `y [N]`."""
    ece, confidence, accuracy, count = classification.calibration(np.asarray(jax.nn.softmax(logits)), y)
    confusion, per_class = classification.class_table(logits.argmax(-1), y, class_names)
    block = shares(len(y), accuracy=float((logits.argmax(-1) == y).mean())) | {"ece": ece, "per_class": per_class}
    if len(class_names) == 2:
        block |= {name: per_class[POSITIVE][name] for name in ("f1", "precision", "recall")}
    arrays = {"reliability_confidence": confidence, "reliability_accuracy": accuracy, "reliability_count": count}
    return {"confusion": confusion, **arrays}, block


def figures_by_noise(work, predict, gradient) -> dict:
    """Accuracy over all noise, and by noise level with the area under that curve."""
    data, sde, plan = work.experiment.dataset, work.experiment.sde, work.config.evaluation
    some = np.random.default_rng(0).permutation(len(data.x_test))[: plan.curve_images]
    with progress_bar("accuracy by noise", plan.times * len(some) + len(data.x_test)) as bar:
        predict = telling(predict, plan.batch_size, bar)
        curve = classification.accuracy_by_noise(
            predict,
            gradient,
            sde,
            data.x_test[some],
            data.y_test[some],
            times=np.linspace(plan.accuracy_t, 1.0, plan.times),
            batch=plan.batch_size,
        )
        over_all = classification.accuracy_all_noise(predict, sde, data.x_test, data.y_test, batch=plan.batch_size)
    curve = [row | shares(len(some), accuracy=row["accuracy"]) for row in curve]
    area = {"accuracy_area": classification.accuracy_area(curve)} if len(curve) > 1 else {}
    return shares(len(data.x_test), accuracy_all_noise=over_all) | {"accuracy_by_noise": curve, **area}


def telling(fn, batch, bar):
    """fn(images, ...), which moves the bar on by a batch, but not beyond its end: the last one may be filled up."""

    def told(*arguments):
        found = np.asarray(fn(*arguments))
        bar.update(min(batch, bar.total - bar.n))
        return found

    return told


def gradient_pictures(work, gradient) -> dict:
    """A test image of each of ten classes, diffused to gradient_t, and the gradient of its class there."""
    data, plan = work.experiment.dataset, work.config.evaluation
    x, y = data.x_test, data.y_test
    chosen = [int(i) for c in range(data.num_classes) for i in np.flatnonzero(y == c)[:1]][:10]
    t = np.full(len(chosen), plan.gradient_t, np.float32)
    noisy = classification.diffuse(work.experiment.sde, x[chosen], t, work.config.seed)
    return {
        "gradient_images": x[chosen],
        "gradient_noisy": noisy,
        "gradient_t": plan.gradient_t,
        "gradients": batched(gradient, plan.batch_size, noisy, t, y[chosen]),
        "gradient_labels": y[chosen],
    }


def labelled_pictures(work) -> dict:
    """Some of each class, as many of each as SHOWN has room for."""
    labeled, y = work.experiment.split.labeled, work.experiment.y_visible
    classes = np.unique(y[labeled])
    each = max(1, SHOWN // len(classes))
    shown = np.sort(np.concatenate([labeled[y[labeled] == c][:each] for c in classes[:SHOWN]]))
    return {"labeled_images": work.experiment.dataset.x_train[shown], "labeled_labels": y[shown]}


def measuring_classifier(work, name: str, trained_on: str) -> Judge:
    """The trained judge, or another network of its kind."""
    network = judge_network(work.config.evaluation, work.experiment.num_classes)
    return Judge(network, work.params(name), trained_on)


def judge_of(work) -> Judge | None:
    """The independent judge, where there are labels enough to train one."""
    if not can_judge(work.experiment):
        return None
    trained_on = f"all {len(work.experiment.dataset.x_train)} labels of the training set"
    return measuring_classifier(work, "judge", trained_on)


def evaluate_samples(work) -> dict:
    """Class agreement by a judge, and distances to the training images; nothing where there are no samples."""
    data, batch = work.experiment.dataset, work.config.evaluation.batch_size
    images, labels = work.run.samples.get("images"), work.run.samples.get("labels")
    if images is None:
        return {}
    pairs = (len(images) + len(data.x_test)) * len(data.x_train)
    with progress_bar("nearest images", pairs, "pair") as bar:
        medians, nearest = sample_measures.distances(images, labels, data.x_train, data.x_test, bar.update)
    block, arrays = {"nearest_distance": medians}, {"nearest": data.x_train[nearest]}
    judge = judge_of(work)
    if judge:
        arrays["judge_predictions"] = judge.outputs(images, batch)["logits"].argmax(-1)
        block |= shares(len(labels), class_agreement=float((arrays["judge_predictions"] == labels).mean()))
        block |= {"class_agreement_judge": f"{judge.name}, never used for guidance"}
        block |= shares(len(data.y_test), judge_accuracy=judge.accuracy(data.x_test, data.y_test, batch))
    work.run.record(samples=block)
    evaluate_generation(work, images, labels, judge)
    return arrays


def has_features(work) -> bool:
    """Whether samples are compared with real images at all."""
    return features_of(work.config.evaluation, work.experiment.dataset) != "none"


def no_judge(data) -> str:
    missing = int((data.y_train < 0).sum())
    return (
        f"no judge: it would learn from all {len(data.y_train):,} training images, and {missing:,} have no label; "
        "samples are compared by their pixels, and whether they show the class asked for is not measured"
    )


def evaluate_generation(work, images, labels, judge) -> None:
    """Samples against real images, and the classification accuracy score; nothing where there are no features."""
    plan, data = work.config.evaluation, work.experiment.dataset
    work.run.forget("generation")
    if not has_features(work):
        return
    chosen = features_of(plan, data)
    if chosen != plan.features and work.first_process:
        print(no_judge(data))
    features = extractor(chosen, judge, plan.inception_weights, plan.batch_size)
    x, y = (data.x_train, data.y_train) if plan.reference == "train" else (data.x_test, data.y_test)
    real = x, y if (y >= 0).all() else None  # a few labelled images would stand badly for their class
    print(f"comparing {len(images):,} samples with {len(x):,} {plan.reference} images by {features.name}")
    block, warnings = compare_samples(
        features, real, (images, labels), data.class_names, k=plan.k, convention=plan.convention, seed=work.config.seed
    )
    if plan.cas_steps:
        student = measuring_classifier(work, "cas", "samples")
        block |= shares(len(data.y_test), cas=student.accuracy(data.x_test, data.y_test, plan.batch_size))
    work.run.record(generation={"reference": plan.reference, **block})
    if work.first_process:
        print("\n".join(warnings))


def evaluate_likelihood(work) -> None:
    """Bits per dimension of test images under the score network; nothing where none are asked for."""
    plan, sde, x = work.config.evaluation, work.experiment.sde, work.experiment.dataset.x_test
    work.run.forget("likelihood")
    if not plan.likelihood_images:
        return
    from scoressl_jax.metrics.likelihood import bits_per_dim  # its ODE solver takes a second to import

    chosen = np.random.default_rng(0).permutation(len(x))[: plan.likelihood_images]
    print(f"likelihood of {len(chosen):,} test images")
    params, key, mesh = work.params("score"), jax.random.key(work.config.seed), device_mesh()

    @partial(jax.jit, out_shardings=replicated(mesh))
    def measure(params, indices, images):
        images = jax.lax.with_sharding_constraint(images, by_image(mesh))
        return bits_per_dim(
            image_keys(key, indices),
            work.experiment.score_fn(params),
            sde,
            images,
            divergence=plan.divergence,
            tolerance=plan.likelihood_tolerance,
        )

    measured = partial(measure, jax.device_put(params, replicated(mesh)))
    with progress_bar("likelihood", len(chosen)) as bar:
        bits = batched(measured, plan.batch_size, chosen, x[chosen], progress=bar.update)
    work.stop.check()
    if not np.isfinite(bits).all():
        raise UserError(
            f"likelihood: {np.isnan(bits).sum()} of {len(bits)} images took too many steps: raise "
            "config.evaluation.likelihood_tolerance, or set likelihood_images=0"
        )
    work.run.record(likelihood={f"bits_per_dim@{len(bits)}": float(bits.mean()), "divergence": plan.divergence})
