"""What the stages train: an experiment's config -> a Job for the score network, the classifier and the judges."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from scoressl_jax import guidance
from scoressl_jax.data.augmentation import augmented
from scoressl_jax.experiment.judge import judge_loss, judge_network
from scoressl_jax.losses.score_matching import denoising_score_matching, sample_times
from scoressl_jax.methods.score_ssl import UNLABELED_TERMS, Objective
from scoressl_jax.training.loop import Job
from scoressl_jax.training.state import init_state, make_optimizer
from scoressl_jax.training.step import make_update


def make_batch_fn(*augment):
    """Batches of float images in [0, 1] from uint8 arrays, each with its labels: y of `x`, y_hidden of `x_u`.
    `augment`: flip, shift and affine of `augmented`."""

    def images(arrays, indices, key):
        return augmented(arrays["x"][indices].astype(jnp.float32) / 255.0, key, *augment)

    def make_batch(arrays, indices, key):
        key_l, key_u = jax.random.split(key)
        batch = {"x": images(arrays, indices["x"], key_l), "y": arrays["y"][indices["x"]]}
        if "x_u" in indices:
            batch["x_u"] = images(arrays, indices["x_u"], key_u)
            batch["y_u"] = arrays["y_hidden"][indices["x_u"]]
        return batch

    return make_batch


def changes_of(config):
    """The random changes of training images that keep their class, as make_batch_fn takes them."""
    c = config.classifier
    return c.random_flip, c.random_shift, c.random_affine


def optimizer_of(stage):
    return make_optimizer(
        stage.learning_rate, stage.weight_decay, stage.warmup, stage.clip, stage.schedule, stage.steps
    )


def make_job(name, config, stage, loss_fn, init_params, arrays, pools, batch_sizes, frozen=(), augment=(), rate=None):
    """A Job from a stage's loss; `stage` has the optimiser's fields, ema and steps; key order in pools is free.
    `augment`: arguments of make_batch_fn; `rate`: the field of the learning rate where it is not the stage's own."""
    optimizer = optimizer_of(stage)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return Job(
        name=name,
        update=make_update(loss_fn, make_batch_fn(*augment), optimizer, stage.ema),
        init_state=lambda: init_state(init_params(key), optimizer),
        arrays=arrays,
        frozen=frozen,
        pools=pools,
        batch_sizes=batch_sizes,
        steps=stage.steps,
        seed=config.seed,
        rate=rate or f"{name}.learning_rate",
        **config.training,  # steps_per_call, checkpoint_every, max_rollbacks
    )


def example_inputs(experiment):
    return jnp.zeros((2, *experiment.dataset.image_shape)), jnp.zeros(2)


def training_arrays(experiment):
    """All training images, the labels that training may see, and the others for what is logged."""
    data = experiment.dataset
    return {"x": data.x_train, "y": experiment.y_visible, "y_hidden": data.y_train}


def score_job(experiment):
    """Denoising score matching on every training image, labelled or not."""
    score, sde, network = experiment.config.score, experiment.sde, experiment.score_network

    def loss_fn(params, frozen, batch, key):
        key_t, key_z, key_dropout = jax.random.split(key, 3)
        x = batch["x"]
        t, z = sample_times(key_t, x.shape[0], score.times), jax.random.normal(key_z, x.shape)
        apply = lambda x, s: network.apply(params, x, s, train=True, rngs={"dropout": key_dropout})  # noqa: E731
        score_fn = guidance.make_score_fn(sde, apply)
        return denoising_score_matching(score_fn, sde, x, t, z, score.likelihood_weighting), {}

    return make_job(
        "score",
        experiment.config,
        score,
        loss_fn,
        lambda key: network.init(key, *example_inputs(experiment)),
        training_arrays(experiment),
        {"x": np.arange(len(experiment.dataset.x_train))},
        {"x": score.batch_size},
        augment=(score.random_flip,),
    )


def build_objective(experiment, class_prior=None):
    c, prior = experiment.config.classifier, class_prior or 0.0
    return Objective(
        experiment.sde,
        dict(c.terms),
        c.times,
        c.tau,
        c.threshold,
        c.dlsm_power,
        c.temporal_delta,
        c.temporal_time,
        c.temporal_noise,
        (1 - prior, prior),
    )


def classifier_init(experiment):
    network, (x, s) = experiment.classifier_network, example_inputs(experiment)
    assisted = experiment.config.classifier.kind == "denoising_assisted"
    return lambda key: network.init(key, x, s, *((x,) if assisted else ()))


def classifier_job(experiment, score_params, class_prior=None):
    """The classifier's objective, with the score network frozen; class_prior is what regime pu needs."""
    c, objective = experiment.config.classifier, build_objective(experiment, class_prior)

    def loss_fn(params, frozen, batch, key):
        score_fn = experiment.score_fn(frozen)
        # Without a score, the image stands for its own denoised one; a noisy classifier has none to spare.
        spared = not c.denoise_tau and c.kind == "denoising_assisted"
        at_tau = experiment.classifier_fn(params, lambda x, t: jnp.zeros_like(x)) if spared else None
        return objective(experiment.classifier_fn(params, score_fn), score_fn, batch, key, at_tau)

    pools, batch_sizes = {"x": experiment.split.labeled}, {"x": c.batch_size}
    if objective.wants(*UNLABELED_TERMS):
        pools["x_u"], batch_sizes["x_u"] = experiment.split.unlabeled, c.unlabeled_batch_size
    return make_job(
        "classifier",
        experiment.config,
        c,
        loss_fn,
        classifier_init(experiment),
        training_arrays(experiment),
        pools,
        batch_sizes,
        frozen=score_params,
        augment=changes_of(experiment.config),
    )


def can_judge(experiment):
    """A judge needs every true label of the training set, which own images with few labels do not have."""
    return experiment.config.evaluation.judge_steps > 0 and (experiment.dataset.y_train >= 0).all()


def judge_job(experiment):
    """An independent classifier of clean images, trained on all true labels, that only ever measures samples."""
    data, config = experiment.dataset, experiment.config
    steps, augment = config.evaluation.judge_steps, changes_of(config)
    return measuring_job("judge", config, data.x_train, data.y_train, data.num_classes, steps, augment=augment)


def positive_job(experiment, half):
    """Labelled positives (1) against unlabelled images (0), half of either, both equally often; class_prior.py."""
    data, config, split = experiment.dataset, experiment.config, experiment.split
    positive, unlabeled = split.labeled[half::2], split.unlabeled[half::2]
    most = max(len(positive), len(unlabeled))
    pool = np.concatenate([np.resize(positive, most), np.resize(unlabeled, most)])
    is_labeled = (experiment.y_visible >= 0).astype(np.int32)
    return measuring_job(f"class_prior_{half}", config, data.x_train, is_labeled, 2, config.data.prior_steps, pool)


def measuring_job(name, config, images, labels, num_classes, steps, pool=None, augment=()):
    """A classifier of the judge's kind on any labelled images, uint8 `[N, H, W, C]`: on real ones it is the judge, on
    samples that of the classification accuracy score. `config` is read for seed, evaluation and training alone; `pool`
    are the images to train on, all by default; `augment`: arguments of make_batch_fn."""
    e = config.evaluation
    network = judge_network(e, num_classes)
    stage = ConfigDict(
        dict(
            learning_rate=e.judge_learning_rate,
            weight_decay=1e-2,
            warmup=50,
            clip=1.0,
            schedule="cosine",
            steps=steps,
            ema=0.99,
        )
    )

    def loss_fn(params, frozen, batch, key):
        return judge_loss(lambda x, s: network.apply(params, x, s), batch["x"], batch["y"], key, e.judge_noise)

    return make_job(
        name,
        config,
        stage,
        loss_fn,
        lambda key: network.init(key, jnp.zeros((2, *images.shape[1:])), jnp.zeros(2)),
        {"x": images, "y": labels},
        {"x": np.arange(len(images)) if pool is None else pool},
        {"x": e.batch_size},
        augment=augment,
        rate="evaluation.judge_learning_rate",
    )
