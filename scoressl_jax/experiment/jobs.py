"""What the stages train: an experiment -> a Job for the score network, the teacher, the classifier and those that
measure."""

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.data.augmentation import augmented
from scoressl_jax.data.dataset import UNLABELED
from scoressl_jax.experiment.objective import build_objective
from scoressl_jax.experiment.teacher import (
    LABELS_ALONE,
    Teacher,
    build_method,
    build_network,
    divided,
    last_step,
    strong_of,
    weak_of,
)
from scoressl_jax.experiment.training import optimizer_of
from scoressl_jax.losses.score_matching import denoising_score_matching, sample_times
from scoressl_jax.methods.learner import Learner, Sizes
from scoressl_jax.methods.score_ssl import UNLABELED_TERMS
from scoressl_jax.models.clean_resnet import applied
from scoressl_jax.training.loop import Job
from scoressl_jax.training.state import init_state
from scoressl_jax.training.step import make_update


def make_batch_fn(**changes):
    """Batches of float images in [0, 1] from uint8 arrays, each with its labels: y of `x`, y_hidden of `x_u`.
    `changes`: flip, shift and affine of `augmented`."""

    def images(arrays, indices, key):
        return augmented(arrays["x"][indices].astype(jnp.float32) / 255.0, key, **changes)

    def make_batch(arrays, indices, key):
        key_l, key_u = jax.random.split(key)
        batch = {"x": images(arrays, indices["x"], key_l), "y": arrays["y"][indices["x"]]}
        if "x_u" in indices:
            batch["x_u"], batch["u"] = images(arrays, indices["x_u"], key_u), indices["x_u"]
            batch["y_u"] = arrays["y_hidden"][indices["x_u"]]
            if "taught" in arrays:
                batch["taught"] = arrays["taught"][indices["x_u"]]
        return batch

    return make_batch


def changes_of(config):
    """The random changes of training images that keep their class, as make_batch_fn takes them."""
    c = config.classifier
    return dict(flip=c.random_flip, shift=c.random_shift, affine=c.random_affine)


def make_job(
    *,
    name,
    config,
    stage,
    loss_fn,
    init_params,
    arrays,
    pools,
    batch_sizes,
    frozen=(),
    changes=None,
    rate=None,
    memory=None,
    steps=None,
    **rounds,
):
    """A Job from a stage's loss; `stage` has the optimiser's fields, ema and steps; key order in pools is free.
    `changes`: of make_batch_fn; `rate`: the field of the learning rate where it is not the stage's own; `memory`: what
    the state carries for a loss that sees the state; `steps`: in place of the stage's, whose schedule is then cut
    short; `rounds`: the Job's `rounds` and `between`."""
    optimizer = optimizer_of(stage)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return Job(
        name=name,
        update=make_update(
            loss_fn, make_batch_fn(**(changes or {})), optimizer, stage.ema, sees_state=memory is not None
        ),
        init_state=lambda: init_state(init_params(key), optimizer, memory),
        arrays=arrays,
        frozen=frozen,
        pools=pools,
        batch_sizes=batch_sizes,
        steps=steps or stage.steps,
        seed=config.seed,
        remedy=f"lower config.{rate or f'{name}.learning_rate'} or allow config.training.max_rollbacks",
        **config.training,  # steps_per_call, checkpoint_every, max_rollbacks
        **rounds,
    )


def training_arrays(experiment):
    """All training images, the labels that training may see, and the others for what is logged."""
    data = experiment.dataset
    return {"x": data.x_train, "y": experiment.y_visible, "y_hidden": data.y_train}


def score_job(experiment, start=None):
    """Denoising score matching on every training image, labelled or not; `start`: parameters to begin with."""
    score, sde, network = experiment.config.score, experiment.sde, experiment.score_network

    def loss_fn(params, frozen, batch, key):
        key_t, key_z, key_dropout = jax.random.split(key, 3)
        x = batch["x"]
        t, z = sample_times(key_t, x.shape[0], score.times), jax.random.normal(key_z, x.shape)
        apply = lambda x, s: network.apply(params, x, s, train=True, rngs={"dropout": key_dropout})  # noqa: E731
        score_fn = guidance.make_score_fn(sde, apply)
        return denoising_score_matching(score_fn, sde, x, t, z, likelihood_weighting=score.likelihood_weighting), {}

    return make_job(
        name="score",
        config=experiment.config,
        stage=score,
        loss_fn=loss_fn,
        init_params=lambda key: network.init(key, *experiment.example_inputs()) if start is None else start,
        arrays=training_arrays(experiment),
        pools={"x": np.arange(len(experiment.dataset.x_train))},
        batch_sizes={"x": score.batch_size},
        changes=dict(flip=score.random_flip),
    )


def teacher_job(experiment, labeled=None, prior=None):
    """A method for few labels on clean images. `labeled`: the images whose labels it may see, all that have one by
    default; `prior`: share of positives among the unlabelled images."""
    config, teacher = experiment.config, experiment.config.teacher
    data, split = experiment.dataset, experiment.split
    method = build_method(teacher)
    network = build_network(teacher, experiment.num_classes, config.dtype, experiment.image_shape)
    labeled, _ = divided(method, split.labeled if labeled is None else labeled, config.seed)
    y = np.full(len(data.x_train), UNLABELED, np.int32)
    y[labeled] = experiment.y_visible[labeled]
    weak, strong = weak_of(teacher), strong_of(teacher)

    def loss_fn(params, given, batch, key):
        _, state = given
        average = lambda x: jax.lax.stop_gradient(applied(network, state.ema_params)(x))  # noqa: E731
        learner = Learner(applied(network, params), average, weak, strong, state.step / teacher.steps)
        loss, logs, memory = method.loss(learner, batch, key, state.memory)
        return loss, logs | {"memory": memory}

    counts = np.bincount(y[labeled], minlength=experiment.num_classes)
    sizes = Sizes(len(y), experiment.num_classes, tuple(counts / counts.sum()), len(labeled), prior)
    pools, batch_sizes = {"x": labeled}, {"x": teacher.batch_size}
    if teacher.method not in LABELS_ALONE:
        # Labelled images are unlabelled ones too; positive-unlabelled methods keep the two apart.
        pools["x_u"] = split.unlabeled if config.regime == "pu" else np.arange(len(y))
        batch_sizes["x_u"] = teacher.unlabeled_batch_size
    return make_job(
        name="teacher",
        config=config,
        stage=teacher,
        loss_fn=loss_fn,
        init_params=lambda key: network.init(key, experiment.example_inputs()[0]),
        arrays=training_arrays(experiment) | {"y": y},
        pools=pools,
        batch_sizes=batch_sizes,
        rate="teacher.learning_rate",
        memory=method.start(sizes),
        steps=last_step(teacher.steps, teacher.stop),
        **between_rounds(method, network, teacher.steps),
    )


def between_rounds(method, network, steps: int) -> dict:
    """A Job's `rounds` and `between`, where the method looks at all images from time to time."""
    if not hasattr(method, "between"):
        return {}

    def between(state, arrays):
        images = np.asarray(arrays["x"])
        features = Teacher.on(network, state.ema_params, images).outputs(images)["features"]
        return state.replace(memory=method.between(features, np.asarray(arrays["y"]), state.memory))

    return {"rounds": tuple(round(share * steps) for share in method.rounds), "between": between}


def classifier_init(experiment):
    network, (x, s) = experiment.classifier_network, experiment.example_inputs()
    return lambda key: network.init(key, x, s, *((x,) if experiment.assisted else ()))


def classifier_job(experiment, score_params, class_prior=None, start=None, taught=None):
    """The classifier's objective, with the score network frozen; class_prior is what the term `prior` needs; `start`:
    parameters to begin with; `taught`: the teacher's labels `[N, C]` of all training images, where there is one."""
    c = experiment.config.classifier
    objective = build_objective(experiment.config, experiment.sde, class_prior)

    def loss_fn(params, frozen, batch, key):
        score_fn = experiment.score_fn(frozen)
        # Without a score, the image stands for its own denoised one; a noisy classifier has none to spare.
        spared = not c.denoise_tau and experiment.assisted
        at_tau = experiment.classifier_fn(params, lambda x, t: jnp.zeros_like(x)) if spared else None
        return objective(experiment.classifier_fn(params, score_fn), score_fn, batch, key, at_tau)

    pools, batch_sizes = {"x": experiment.split.labeled}, {"x": c.batch_size}
    if objective.wants(*UNLABELED_TERMS):
        pools["x_u"], batch_sizes["x_u"] = experiment.split.unlabeled, c.unlabeled_batch_size
    return make_job(
        name="classifier",
        config=experiment.config,
        stage=c,
        loss_fn=loss_fn,
        init_params=classifier_init(experiment) if start is None else lambda key: start,
        arrays=training_arrays(experiment) | ({} if taught is None else {"taught": taught}),
        pools=pools,
        batch_sizes=batch_sizes,
        frozen=score_params,
        changes=changes_of(experiment.config),
    )
