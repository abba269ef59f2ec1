"""The block `teacher`: a classifier of clean images that learns from few labels by a method of `methods/`, labels the
rest, and never guides. Its hyperparameters stand in its method's own block, `teacher.METHOD`."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial

import jax
import numpy as np

from scoressl_jax.data import randaugment
from scoressl_jax.data.augmentation import augmented
from scoressl_jax.devices import batched, by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import networks, training
from scoressl_jax.experiment.fields import (
    AT_LEAST_TWO,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Field,
    Option,
    Rule,
    one_of,
)
from scoressl_jax.methods.table import METHODS, PU_METHODS
from scoressl_jax.models.clean_resnet import CleanResNet, applied, statistics

NONE, AUTO = "none", "auto"
ALL_METHODS = {**METHODS, **PU_METHODS}
LABELS_ALONE = ("supervised",)  # methods that look at no unlabelled image


def fields_of(method: type) -> dict:
    """A method's hyperparameters as fields."""

    def field(declared):
        least, most = declared.metadata["least"], declared.metadata["most"]
        words = f"be {least:g} or more" if most == float("inf") else f"lie in [{least:g}, {most:g}]"
        return Field(declared.default, declared.metadata["meaning"], Rule(words, lambda v: least <= v <= most))

    return {declared.name: field(declared) for declared in dataclasses.fields(method)}


OPTIMISED = training.fields(learning_rate=3e-3, weight_decay=0.01, batch_size=32, steps=1500, clip=5.0, ema=0.995)
OPTIMISED.pop("times")
FIELDS = dict(
    method=Field(
        NONE,
        "how it learns; none: there is no teacher, as in the papers; auto: chosen by labelled images left out",
        one_of(NONE, AUTO, *ALL_METHODS),
    ),
    folds=Field(3, "auto: the labelled images are left out in so many parts", AT_LEAST_TWO),
    choice_steps=Field(500, "auto: of each candidate on each fold", POSITIVE),
    depth=Field(10, "WRN-depth-widen", networks.DEPTH),
    widen=Field(1, "width over 16 channels", POSITIVE),
    patch=Field(1, "as score.patch", POSITIVE),
    **OPTIMISED,
    unlabeled_batch_size=Field(128, "unlabelled images a step", POSITIVE, per_device=True),
    flip=Field(False, "weak and strong: mirror images at random"),
    shift=Field(0.07, "weak: move by up to this share of the height", SHARE),
    strong=Field("affine", "what strong augmentation is", one_of("affine", "rand_augment")),
    strength=Field(1.0, "strong: a factor of all that follows, but operations", SHARE),
    stop=Field(1.0, "share of the steps after which training ends, its schedule cut short", FRACTION),
    rotate=Field(20.0, "affine: turn by up to so many degrees", NOT_NEGATIVE),
    zoom=Field(0.2, "affine: enlarge by up to this share, or shrink", SHARE),
    shear=Field(0.2, "affine: shear by up to this share", SHARE),
    move=Field(0.1, "affine: move by up to this share of height and width", SHARE),
    contrast=Field(0.3, "affine: change contrast by up to this share", SHARE),
    brightness=Field(0.0, "affine: change brightness by up to this share", SHARE),
    operations=Field(2, "rand_augment: of its fourteen operations, so many an image", POSITIVE),
    hard=Field(False, "the classifier learns its most probable labels, rather than its probabilities"),
    cutout=Field(0.4, "a square up to this share of the height is cut out; 0: none", SHARE),
    **{name: fields_of(method) for name, method in ALL_METHODS.items() if dataclasses.fields(method)},
)
AFFINE = tuple(f"teacher.{name}" for name in ("rotate", "zoom", "shear", "move", "contrast", "brightness"))
NETWORK = ("teacher.depth", "teacher.widen", "teacher.patch")
COMMON = tuple(
    f"teacher.{name}"
    for name in (*OPTIMISED, "stop", "flip", "strong", "strength", "cutout", "operations")
)
UNLABELED = ("teacher.unlabeled_batch_size", "teacher.shift")
TAUGHT = ("teacher.hard", "classifier.terms.taught", "classifier.terms.taught_tau")
PSEUDO = ("classifier.terms.pseudo", "classifier.threshold")  # what the teacher's labels take the place of


def has_network(name: str) -> bool:
    """Whether a method brings a network of its own."""
    return hasattr(ALL_METHODS.get(name), "network")


def read_by(name: str) -> tuple:
    """The fields that a method reads."""
    own = tuple(f"teacher.{name}.{field.name}" for field in dataclasses.fields(ALL_METHODS[name]))
    network = () if has_network(name) else NETWORK
    return (*network, *COMMON, *AFFINE, *TAUGHT, *(() if name in LABELS_ALONE else UNLABELED), *own)


CHOICES = {
    "teacher.method": {NONE: Option(None, PSEUDO)}
    | {AUTO: Option(None, (*read_by("mean_teacher"), "teacher.folds", "teacher.choice_steps"))}
    | {name: Option(ALL_METHODS[name], read_by(name)) for name in ALL_METHODS},
    "teacher.strong": {
        "affine": Option(randaugment.strong, AFFINE),
        "rand_augment": Option(randaugment.rand_augment, ("teacher.operations",)),
    },
}


def check(config) -> None:
    name, methods = config.teacher.method, {"ssl": {AUTO: None, **METHODS}, "pu": PU_METHODS}.get(config.regime, {})
    if name not in (NONE, *methods):
        raise UserError(
            f"config.teacher.method {name} is not for config.regime {config.regime}: "
            f"choose one of {', '.join((NONE, *methods))}"
        )


def build_method(teacher):
    """The method with its hyperparameters; `teacher` is the block."""
    method = ALL_METHODS[teacher.method]
    return method(**{field.name: teacher[teacher.method][field.name] for field in dataclasses.fields(method)})


def needs_prior(config) -> bool:
    """Whether the teacher is to be told the share of positives among the unlabelled images."""
    return getattr(ALL_METHODS.get(config.teacher.method), "needs_prior", False)


def divided(method, labeled: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labelled images that a method learns from, those by which it is calibrated), one of either at least."""
    share = getattr(method, "held_out", 0)
    count = min(max(round(share * len(labeled)), 1), len(labeled) - 1) if share else 0
    left_out = np.random.default_rng([seed, 4]).permutation(len(labeled)) < count
    return labeled[~left_out], labeled[left_out]


def last_step(steps: int, stop: float) -> int:
    """Where training ends that is stopped after a share of its steps."""
    return max(round(stop * steps), 1)


def build_network(teacher, num_classes: int, dtype: str, image_shape: tuple = ()):
    """The teacher's network; `image_shape` is what a method with one of its own needs to know."""
    if has_network(teacher.method):
        return build_method(teacher).network(num_classes, image_shape)
    dtype = networks.DTYPES[dtype]
    return CleanResNet(num_classes, teacher.depth, teacher.widen, teacher.patch, dtype)


def weak_of(teacher) -> Callable:
    return partial(randaugment.weak, shift=teacher.shift, flip=teacher.flip)


def strong_of(teacher) -> Callable:
    """(x, key) -> x: mirrored, changed, and a square of the image's own mean cut out."""
    if teacher.strong == "affine":
        names = ("rotate", "zoom", "shear", "contrast", "brightness")
        options = {name: teacher.strength * teacher[name] for name in names}
        change = partial(randaugment.strong, **options, shift=teacher.strength * teacher.move, cutout=0.0)
    else:
        change = partial(randaugment.rand_augment, count=teacher.operations)

    cutout = teacher.strength * teacher.cutout

    def strong(x, key):
        key_flip, key_change, key_cutout = jax.random.split(key, 3)
        x = change(augmented(x, key_flip, flip=teacher.flip), key_change)
        mean = x.mean((1, 2), keepdims=True)
        return randaugment.cut_out(x, key_cutout, cutout, mean) if cutout else x

    return strong


# Once it is trained


STATISTICS_OF = 1024  # images, at most
BATCH = 512


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Averaged parameters with the statistics that normalise every image alike."""

    network: CleanResNet
    params: object
    statistics: object

    @classmethod
    def on(cls, network: CleanResNet, params, images: np.ndarray) -> "Teacher":
        """With the statistics of some of the images, uint8 `[N, H, W, C]`, evenly spaced among them."""
        some = np.linspace(0, len(images) - 1, min(STATISTICS_OF, len(images))).astype(int)
        return cls(network, params, compiled(network)[0](params, images[some]))

    def outputs(self, images: np.ndarray) -> dict:
        """{"logits" [N, C], "features" [N, F]} of uint8 images."""
        batch = BATCH + -BATCH % jax.device_count()
        return batched(partial(compiled(self.network)[1], self.params, self.statistics), batch, images)


@cache
def compiled(network: CleanResNet) -> tuple:
    """(params, x) -> statistics, and (params, statistics, x) -> outputs of uint8 images."""
    mesh = device_mesh()
    everywhere = partial(jax.jit, out_shardings=replicated(mesh))

    def outputs(params, found, x):
        logits, features = applied(network, params, found)(jax.lax.with_sharding_constraint(x, by_image(mesh)) / 255.0)
        return {"logits": logits, "features": features}

    return everywhere(lambda params, x: statistics(network, params, x / 255.0)), everywhere(outputs)
