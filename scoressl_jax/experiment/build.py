"""The one place that reads a ConfigDict: config -> data, processes, networks, samplers.

config.py declares the fields, validation.py checks them, jobs.py makes the training jobs.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.data import splits
from scoressl_jax.data.dataset import Dataset
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.checks import validate
from scoressl_jax.experiment.config import DTYPES
from scoressl_jax.experiment.fields import choose
from scoressl_jax.models.mlp import MLP, MLPClassifier
from scoressl_jax.models.ncsnpp import NCSNpp
from scoressl_jax.models.resnet import ResNet
from scoressl_jax.models.scaling import POSITIONAL, ScoreNetwork
from scoressl_jax.models.wide_resnet import WideResNet
from scoressl_jax.sampling.few_steps import calls, few_steps
from scoressl_jax.sampling.inverse import colorization, inpainting, mask_of
from scoressl_jax.sampling.predictor_corrector import moves_per_step, predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP

LONG = 100  # network calls from which the progress bar also moves within a batch of samples


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
    factors = {
        "score.multipliers and score.patch ask": config.score.patch * 2 ** (len(config.score.multipliers) - 1),
        "classifier.patch asks": config.classifier.patch,
        "evaluation.judge_patch asks": config.evaluation.judge_patch,
    }
    if config.score.network != "ncsnpp":
        del factors["score.multipliers and score.patch ask"]
    for what, factor in factors.items():
        if height % factor or width % factor:
            raise UserError(
                f"images of {height}x{width} are not divisible by {factor}, as config.{what}: change that, "
                "or resize the images (config.data.image_size for a folder)"
            )
    if config.sampling.task == "colorization" and dataset.image_shape[-1] != 3:
        raise UserError(f"config.sampling.task colorization needs images of three channels: {dataset.name} has "
                        f"{dataset.image_shape[-1]}")
    if config.regime != "supervised" and len(split.unlabeled) == 0:
        raise UserError(
            f"regime {config.regime} needs unlabelled images and none are left: lower the label budget or "
            "set config.regime='supervised'"
        )
    if config.regime == "pu" and not config.data.class_prior and min(len(split.labeled), len(split.unlabeled)) < 2:
        raise UserError(
            f"{len(split.labeled)} labelled positives and {len(split.unlabeled)} unlabelled images: "
            "config.data.class_prior is 0, and estimating it takes two of either: add images, or give it"
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
    score, dtype = config.score, DTYPES[config.dtype]
    kind = "positional" if score.scaling in POSITIONAL else "fourier"
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
                kind,
                score.fir,
                score.pyramid,
                dtype,
                score.patch,
            ),
            "mlp": lambda: MLP(score.width, score.blocks, score.dropout, score.embedding, dtype),
        },
    )()
    return ScoreNetwork(body, score.scaling, build_sde(config) if kind == "positional" else None)


def build_classifier_network(config, num_classes):
    c, dtype = config.classifier, DTYPES[config.dtype]
    assisted = c.kind == "denoising_assisted"
    rest = c.norm, assisted, c.embedding, dtype, c.patch
    return choose(
        "classifier.network",
        c.network,
        {
            "wide_resnet": lambda: WideResNet(num_classes, c.depth, c.widen, *rest),
            "resnet": lambda: ResNet(num_classes, c.depth, c.width, *rest),
            "mlp": lambda: MLPClassifier(num_classes, c.width, c.blocks, assisted, c.embedding, dtype),
        },
    )()


# Sampling


def network_calls(sampling):
    """Calls of the score network an image; None where the sampler decides as it goes."""
    if sampling.sampler == "ode":
        return None
    if sampling.sampler == "predictor_corrector":
        return sampling.steps * moves_per_step(sampling.corrector, sampling.corrector_steps)
    return calls(sampling.sampler, sampling.steps)


def build_sampler(sampling, sde, shape, progress=None):
    """`(keys, score_fn, project) -> x [B, *shape]`, as config.sampling has it; project is None or inverse.py's."""
    s = sampling
    start = dict(t_init=s.t_init, prior=s.prior)
    if s.sampler == "ode":
        from scoressl_jax.sampling.ode import ode_sampler  # its library takes a second to import

        return lambda keys, score_fn, _: ode_sampler(keys, score_fn, sde, shape, s.tolerance, **start)
    if s.sampler == "predictor_corrector":
        draw, plan = predictor_corrector, (s.predictor, s.corrector, s.snr, s.corrector_steps, s.norms)
    else:
        draw, plan = few_steps, (s.sampler, s.schedule, s.eta, s.clip)
    start["progress"] = progress if network_calls(s) >= LONG else None
    return lambda keys, score_fn, project: draw(
        keys, score_fn, sde, shape, s.steps, *plan, **start, project=project
    )


def guided_score(experiment, parameters, labels):
    """The score function that samples follow, with the classifier's gradient unless config.sampling.scale is 0."""
    s, sde = experiment.config.sampling, experiment.sde
    score_fn = experiment.score_fn(parameters[0])
    if not s.scale:
        return score_fn
    levels = jnp.log(jnp.maximum(jnp.asarray(tuple(s.interval)), 1e-12))
    interval = tuple(sde.time_of_log_sigma(levels)) if s.interval else None
    classifier_fn = experiment.classifier_fn(parameters[1], score_fn)
    return guidance.guided_score(score_fn, classifier_fn, labels, s.scale, interval)


def guided_sampler(experiment, progress=None):
    """`(parameters, keys, labels[, known]) -> x`: parameters are (score, classifier), `known` the images to restore."""
    s, sde, shape = experiment.config.sampling, experiment.sde, experiment.dataset.image_shape
    draw = build_sampler(s, sde, shape, progress)
    restore = {
        "none": lambda known: None,
        "inpainting": lambda known: inpainting(sde, known, mask_of(s.hidden, shape)),
        "colorization": lambda known: colorization(sde, known),
    }[s.task]

    def sample(parameters, keys, labels, known=None):
        return draw(keys, guided_score(experiment, parameters, labels), restore(known))

    return sample


def sampling_conditions(experiment):
    """{"labels" int32 [N]}: round the classes; where test images are restored theirs, with "known", the images."""
    count, dataset = experiment.config.sampling.count, experiment.dataset
    if experiment.config.sampling.task == "none":
        return {"labels": (np.arange(count) % experiment.num_classes).astype(np.int32)}
    chosen = np.arange(count) % len(dataset.x_test)
    return {
        "labels": dataset.y_test[chosen].astype(np.int32),
        "known": dataset.x_test[chosen].astype(np.float32) / 255.0,
    }
