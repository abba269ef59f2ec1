"""The only module that reads a ConfigDict: config -> data, processes, networks, jobs, samplers.

config.py declares and checks the fields; stages get objects from here.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.config import choose, validate
from scoressl_jax.data import splits
from scoressl_jax.data.dataset import Dataset
from scoressl_jax.errors import UserError
from scoressl_jax.evaluation.samples import judge_loss
from scoressl_jax.losses.objective import UNLABELED_TERMS, Objective
from scoressl_jax.losses.score_matching import denoising_score_matching, sample_times
from scoressl_jax.models.mlp import MLP, MLPClassifier
from scoressl_jax.models.ncsnpp import NCSNpp
from scoressl_jax.models.scaling import ScoreNetwork
from scoressl_jax.models.wide_resnet import WideResNet
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP
from scoressl_jax.training.loop import Job
from scoressl_jax.training.state import init_state, make_optimizer
from scoressl_jax.training.step import make_update


@dataclass(frozen=True)
class Experiment:
    """What every stage shares. `y_visible` is -1 wherever the label is hidden from training."""

    config: object
    dataset: Dataset
    split: splits.Split
    y_visible: np.ndarray
    sde: object
    score_network: ScoreNetwork
    classifier_network: object

    @property
    def num_classes(self):
        return self.dataset.num_classes

    def score_fn(self, params):
        return guidance.make_score_fn(self.sde, lambda x, s: self.score_network.apply(params, x, s))

    def classifier_fn(self, params, score_fn):
        assisted = self.config.classifier.kind == "denoising_assisted"
        network = lambda *inputs: self.classifier_network.apply(params, *inputs)  # noqa: E731
        return guidance.make_classifier_fn(self.sde, network, score_fn if assisted else None)


# Data


def load_dataset(config):
    """The data set that config.data names, images and all the labels that its source has."""
    from scoressl_jax.data import digits, folder, npz, tfds

    data = config.data
    local = {
        "digits": digits.load_digits,
        "npz": lambda: npz.load_npz(data.path),
        "folder": lambda: folder.load_folder(data.path, data.image_size or None),
    }
    if data.name in ("npz", "folder") and not data.path:
        raise UserError(f"config.data.path is empty: give the {data.name} to read, --config.data.path=PATH")
    if data.name in local:
        return local[data.name]()
    return tfds.load_tfds(data.name, data.path or None, data.download)


def split_labels(config, dataset):
    """(data set, split, y_visible): the label budget applied, classes made binary where the regime is pu."""
    data = config.data
    if config.regime == "pu":
        if data.positive_classes:
            source, dataset = dataset, splits.binarize(dataset, tuple(data.positive_classes))
            split = splits.positive_split(
                source.y_train, tuple(data.positive_classes), data.num_positive, data.split_seed
            )
        elif dataset.num_classes == 2:
            split = splits.positive_split(dataset.y_train, (1,), data.num_positive, data.split_seed)
        else:
            raise UserError("config.data.positive_classes is empty: name the classes that count as positive")
    elif data.labels_file:
        split = splits.load_split(data.labels_file, len(dataset.x_train))
    else:
        split = splits.balanced_split(dataset.y_train, data.num_labels, dataset.num_classes, data.split_seed)
    y_visible = np.full(len(dataset.x_train), -1, np.int32)
    y_visible[split.labeled] = dataset.y_train[split.labeled]
    if (y_visible[split.labeled] < 0).any():
        raise UserError(f"{data.labels_file}: names images that have no label in {dataset.name}")
    return dataset, split, y_visible


def build(config):
    """Load the data and build everything that stages share. Raises UserError for what does not fit."""
    validate(config)
    dataset, split, y_visible = split_labels(config, load_dataset(config))
    check_fit(config, dataset, split)
    return Experiment(
        config,
        dataset,
        split,
        y_visible,
        build_sde(config),
        build_score_network(config),
        build_classifier_network(config, dataset.num_classes),
    )


def check_fit(config, dataset, split):
    """What only the data can tell: image sizes that the network takes, pools that the regime needs."""
    height, width = dataset.image_shape[:2]
    factor = 2 ** (len(config.score.multipliers) - 1)
    if config.score.network == "ncsnpp" and (height % factor or width % factor):
        raise UserError(
            f"images of {height}x{width} are not divisible by {factor}, as config.score.multipliers asks: shorten it, "
            "or resize the images (config.data.image_size for a folder)"
        )
    if config.classifier.network == "wide_resnet" and (height % 4 or width % 4):
        raise UserError(f"images of {height}x{width}: the wide_resnet classifier needs sizes divisible by 4")
    if config.regime != "supervised" and len(split.unlabeled) == 0:
        raise UserError(
            f"regime {config.regime} needs unlabelled images and none are left: lower the label budget or "
            "set config.regime='supervised'"
        )


# Processes and networks


def build_sde(config):
    sde = config.sde
    return choose(
        "sde.name",
        sde.name,
        {
            "ve": lambda: VE(sde.sigma_min, sde.sigma_max),
            "vp": lambda: VP(sde.beta_min, sde.beta_max),
            "subvp": lambda: SubVP(sde.beta_min, sde.beta_max),
        },
    )()


def build_score_network(config):
    score = config.score
    body = choose(
        "score.network",
        score.network,
        {
            "ncsnpp": lambda: NCSNpp(
                score.width,
                tuple(score.multipliers),
                score.blocks,
                tuple(score.attention),
                score.dropout,
                score.embedding,
            ),
            "mlp": lambda: MLP(score.width, score.blocks, score.dropout, score.embedding),
        },
    )()
    return ScoreNetwork(body, score.scaling)


def build_classifier_network(config, num_classes):
    c = config.classifier
    assisted = c.kind == "denoising_assisted"
    return choose(
        "classifier.network",
        c.network,
        {
            "wide_resnet": lambda: WideResNet(num_classes, c.depth, c.widen, c.norm, assisted, c.embedding),
            "mlp": lambda: MLPClassifier(num_classes, c.width, c.blocks, assisted, c.embedding),
        },
    )()


# Jobs


def make_batch_fn(random_flip):
    """Batches of float images in [0, 1] from uint8 arrays, each with its labels: y of `x`, y_hidden of `x_u`."""

    def images(arrays, indices, key):
        x = arrays["x"][indices].astype(jnp.float32) / 255.0
        if random_flip:
            flip = jax.random.bernoulli(key, 0.5, (x.shape[0], 1, 1, 1))
            x = jnp.where(flip, x[:, :, ::-1], x)
        return x

    def make_batch(arrays, indices, key):
        key_l, key_u = jax.random.split(key)
        batch = {"x": images(arrays, indices["x"], key_l), "y": arrays["y"][indices["x"]]}
        if "x_u" in indices:
            batch["x_u"] = images(arrays, indices["x_u"], key_u)
            batch["y_u"] = arrays["y_hidden"][indices["x_u"]]
        return batch

    return make_batch


def optimizer_of(stage):
    return make_optimizer(
        stage.learning_rate, stage.weight_decay, stage.warmup, stage.clip, stage.schedule, stage.steps
    )


def make_job(name, experiment, stage, loss_fn, init_params, pools, batch_sizes, y, frozen=(), **options):
    """A Job from a stage's loss; `stage` has the optimiser's fields, ema and steps; key order in pools is free."""
    config, optimizer = experiment.config, optimizer_of(stage)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    return Job(
        name=name,
        update=make_update(loss_fn, make_batch_fn(options.get("random_flip", False)), optimizer, stage.ema),
        init_state=lambda: init_state(init_params(key), optimizer),
        arrays={"x": experiment.dataset.x_train, "y": y, "y_hidden": experiment.dataset.y_train},
        frozen=frozen,
        pools=pools,
        batch_sizes=batch_sizes,
        steps=stage.steps,
        seed=config.seed,
        steps_per_call=config.training.steps_per_call,
        checkpoint_every=config.training.checkpoint_every,
        max_rollbacks=config.training.max_rollbacks,
    )


def example_inputs(experiment):
    return jnp.zeros((2, *experiment.dataset.image_shape)), jnp.zeros(2)


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
        experiment,
        score,
        loss_fn,
        lambda key: network.init(key, *example_inputs(experiment)),
        {"x": np.arange(len(experiment.dataset.x_train))},
        {"x": score.batch_size},
        experiment.y_visible,
        random_flip=score.random_flip,
    )


def build_objective(experiment):
    c, prior = experiment.config.classifier, experiment.config.data.class_prior
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


def classifier_job(experiment, score_params):
    """The classifier's objective, with the score network frozen."""
    c, objective = experiment.config.classifier, build_objective(experiment)

    def loss_fn(params, frozen, batch, key):
        score_fn = experiment.score_fn(frozen)
        return objective(experiment.classifier_fn(params, score_fn), score_fn, batch, key)

    pools, batch_sizes = {"x": experiment.split.labeled}, {"x": c.batch_size}
    if objective.wants(*UNLABELED_TERMS):
        pools["x_u"], batch_sizes["x_u"] = experiment.split.unlabeled, c.unlabeled_batch_size
    return make_job(
        "classifier",
        experiment,
        c,
        loss_fn,
        classifier_init(experiment),
        pools,
        batch_sizes,
        experiment.y_visible,
        frozen=score_params,
        random_flip=c.random_flip,
    )


def judge_network(experiment):
    e = experiment.config.evaluation
    return WideResNet(experiment.num_classes, e.judge_depth, e.judge_widen, embedding=16)


def can_judge(experiment):
    """A judge needs every true label of the training set, which own images with few labels do not have."""
    return experiment.config.evaluation.judge_steps > 0 and (experiment.dataset.y_train >= 0).all()


def judge_job(experiment):
    """An independent classifier of clean images, trained on all true labels, that only ever measures samples."""
    e, network = experiment.config.evaluation, judge_network(experiment)
    stage = type(experiment.config)(
        dict(
            learning_rate=e.judge_learning_rate,
            weight_decay=1e-2,
            warmup=50,
            clip=1.0,
            schedule="cosine",
            steps=e.judge_steps,
            ema=0.99,
        )
    )

    def loss_fn(params, frozen, batch, key):
        return judge_loss(lambda x, s: network.apply(params, x, s), batch["x"], batch["y"], key)

    return make_job(
        "judge",
        experiment,
        stage,
        loss_fn,
        lambda key: network.init(key, *example_inputs(experiment)),
        {"x": np.arange(len(experiment.dataset.x_train))},
        {"x": 64},
        experiment.dataset.y_train,
    )


# Sampling


def guided_sampler(experiment, steps=None):
    """`(parameters, keys, labels) -> x`, parameters being (score, classifier); `steps` in place of the config's."""
    s, sde = experiment.config.sampling, experiment.sde
    steps = steps or s.steps

    def sample(parameters, keys, labels):
        score_fn = experiment.score_fn(parameters[0])
        guided = guidance.guided_score(score_fn, experiment.classifier_fn(parameters[1], score_fn), labels, s.scale)
        return predictor_corrector(
            keys, guided, sde, experiment.dataset.image_shape, steps, s.predictor, s.corrector, s.snr, s.corrector_steps
        )

    return sample
