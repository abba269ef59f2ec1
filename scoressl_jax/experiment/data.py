"""The block `data` and the regime: which images there are, which labels training may see, and a fingerprint of both."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scoressl_jax.data import digits, folder, npz, splits, tfds
from scoressl_jax.data.dataset import UNLABELED, Dataset
from scoressl_jax.data.fingerprint import fingerprint, shared
from scoressl_jax.data.pictures import FITS, is_colour
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import NOT_NEGATIVE, POSITIVE, Field, Option, Rule, is_whole, one_of
from scoressl_jax.experiment.teacher import build_network, has_network, needs_prior
from scoressl_jax.files import path_of

# A regime splits a data set: `(data fields, data set) -> (data set, split)`.


def labelled_split(data, dataset: Dataset):
    if data.labels_file:
        return dataset, listed_split(data, dataset)
    return dataset, splits.balanced_split(dataset.y_train, data.num_labels, dataset.num_classes, data.split_seed)


def listed_split(data, dataset: Dataset) -> splits.Split:
    return splits.load_split(path_of(data.labels_file, "--config.data.labels_file"), len(dataset.x_train))


def positive_split(data, dataset: Dataset):
    """Classes made binary; labels of positives alone."""
    if not data.positive_classes and dataset.num_classes != 2:
        raise UserError("config.data.positive_classes is empty: name the classes that count as positive")
    y, positive = dataset.y_train, [1]
    if data.positive_classes:
        try:
            positive = splits.class_numbers(dataset.class_names, data.positive_classes)
            dataset = splits.binarize(dataset, positive)
        except UserError as error:
            raise UserError(f"config.data.{error}") from None
    if not data.labels_file:
        return dataset, splits.positive_split(y, positive, data.num_positive, data.split_seed)
    split = listed_split(data, dataset)
    strange = split.labeled[~np.isin(y[split.labeled], positive)]
    if len(strange):
        raise UserError(
            f"config.data.labels_file: {data.labels_file} names image {strange[0]}, which is not of a positive class: "
            "in regime pu it lists the labelled positives"
        )
    return dataset, split


def labels_of(value: object) -> bool:
    """Whether it is a tuple of names of classes, or of whole numbers."""
    return isinstance(value, list | tuple) and all(isinstance(one, str) or is_whole(one) for one in value)


FOR_LABELS = ("data.num_labels", "data.labels_file")
FOR_POSITIVES = ("data.positive_classes", "data.num_positive", "data.labels_file", "data.class_prior",
                 "data.prior_steps")  # fmt: skip
REGIMES = {
    "supervised": Option(labelled_split, FOR_LABELS),
    "ssl": Option(labelled_split, FOR_LABELS),
    "pu": Option(positive_split, FOR_POSITIVES),
}


class Sources(dict):
    """Where images come from, by data.name; every name that is not among them is one of TFDS."""

    def __missing__(self, name):
        return self[TFDS]


def from_folder(data) -> Dataset:
    path = path_of(data.path, "--config.data.path")
    return folder.load_folder(
        path, data.image_size or None, fit=data.fit, background=data.background, skip_damaged=data.skip_damaged
    )


def from_tfds(data) -> Dataset:
    try:
        return tfds.load_tfds(data.name, data.path or None, data.download)
    except UserError as error:
        raise UserError(f"{error} (--config.data.download=True, --config.data.path=PATH)") from None


def fit_before(values: dict) -> str | None:
    """Runs that are older than data.fit stretched what was not square."""
    return "stretch" if values.get("data.name") == "folder" and values.get("data.image_size") else None


TFDS = "a name of TFDS"
SOURCES = Sources(
    {
        "digits": Option(lambda data: digits.load_digits()),
        "npz": Option(lambda data: npz.load_npz(path_of(data.path, "--config.data.path")), ("data.path",)),
        "folder": Option(
            from_folder, tuple(f"data.{name}" for name in ("path", "image_size", "fit", "background", "skip_damaged"))
        ),
        TFDS: Option(from_tfds, ("data.path", "data.download")),
    }
)
FIELDS = dict(
    name=Field("digits", "digits, npz, folder, or a TFDS image classification set (mnist, svhn_cropped, cifar10 ...)"),
    path=Field("", "npz: a file, or a directory of parts; folder, TFDS: its directory ('' is TFDS's own)", free=True),
    download=Field(False, "TFDS: download and prepare the set when it is not there", free=True),
    image_size=Field(0, "folder: resize to this height and width, 0 keeps the images' own", NOT_NEGATIVE),
    fit=Field("crop", "folder: how image_size makes images square: cut off, fill up or distort", one_of(*FITS),
              before=fit_before),
    background=Field("white", "folder: colour behind transparent images, and of fit=pad",
                     Rule("be a colour, as in white or #808080", is_colour)),
    skip_damaged=Field(False, "folder: leave out files that cannot be read, and list them"),
    num_labels=Field(100, "labelled images in all, balanced over classes; 0 keeps every label there is", NOT_NEGATIVE),
    labels_file=Field("", "labelled indices of earlier work, in place of num_labels; pu: positives, of num_positive"),
    split_seed=Field(0, "which images keep their labels", NOT_NEGATIVE),
    positive_classes=Field((), "pu: classes that count as positive, by name",
                           Rule("be names of classes, as in ('cat', '7'), or whole numbers", labels_of)),
    num_positive=Field(0, "pu: labelled positives", NOT_NEGATIVE),
    class_prior=Field(0.0, "pu: share of positives among the unlabelled images; 0 estimates it"),
    prior_steps=Field(300, "pu: of each of the two classifiers that estimate it", POSITIVE),
)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """The data as a run sees them. `y_visible` is -1 wherever the label is hidden from training."""

    dataset: Dataset
    split: splits.Split
    y_visible: np.ndarray

    @property
    def facts(self) -> dict:
        """What data.json says of them: names, sizes, counts, and a fingerprint of the contents."""
        data, split = self.dataset, self.split
        return {
            "name": data.name,
            "class_names": list(data.class_names),
            "image_shape": list(data.image_shape),
            "num_classes": data.num_classes,
            "num_train": len(data.x_train),
            "num_labeled": len(split.labeled),
            "num_unlabeled": len(split.unlabeled),
            "num_hidden": int((data.y_train[split.unlabeled] >= 0).sum()),  # of these, what the judge and logs know
            "num_test": len(data.x_test),
            "fingerprint": fingerprint(data, self.y_visible),
        }


def check(config) -> None:
    if not 0 <= config.data.class_prior < 1:
        raise UserError(
            f"config.data.class_prior is {config.data.class_prior}: give the share of positives among the unlabelled "
            "images, between 0 and 1, or 0 to estimate it"
        )
    own = config.data
    if own.name == "folder" and own.fit != FIELDS["fit"].default and not own.image_size:
        raise UserError(
            f"config.data.fit is {own.fit!r}, but config.data.image_size is 0, which keeps the images' own: give a size"
        )


def check_apart(config, workdir: Path) -> None:
    """A UserError where the files of a run in `workdir` would be read as its data when it goes on."""
    if config.data.name not in ("npz", "folder") or not config.data.path:
        return
    place, root = workdir.resolve(), path_of(config.data.path).resolve()
    parts = place.relative_to(root).parts if place.is_relative_to(root) else None
    if parts is not None and (not parts if config.data.name == "npz" else parts[:1] and parts[0] in folder.PARTS):
        raise UserError(
            f"--workdir={workdir} lies among the images of --config.data.path={config.data.path}, with which its files "
            "would be read: name another"
        )


def check_there(data) -> None:
    """A UserError where the data are read from a path at which nothing is."""
    if data.name in ("npz", "folder") and data.path and not path_of(data.path, "--config.data.path").exists():
        raise UserError(
            f"--config.data.path={data.path}: no such file or directory: was it renamed or moved? Give the path of the "
            f"{data.name}"
        )


def load_dataset(config) -> Dataset:
    """The data set that config.data names, images and all the labels that its source has."""
    data = config.data
    if data.name in ("npz", "folder") and not data.path:
        raise UserError(f"config.data.path is empty: give the {data.name} to read, --config.data.path=PATH")
    return SOURCES[data.name].make(data)


def split_labels(config, dataset: Dataset) -> Prepared:
    """The label budget applied, classes made binary where the regime is pu."""
    dataset, split = REGIMES[config.regime].make(config.data, dataset)
    y_visible = np.full(len(dataset.x_train), UNLABELED, np.int32)
    y_visible[split.labeled] = dataset.y_train[split.labeled]
    if (y_visible[split.labeled] < 0).any():
        raise UserError(f"{config.data.labels_file}: names images that have no label in {dataset.name}")
    return Prepared(dataset, split, y_visible)


def is_estimated(config) -> bool:
    """Whether a term or the teacher needs the class prior and the config does not give it."""
    return bool(config.classifier.terms.prior or needs_prior(config)) and not config.data.class_prior


def is_judged(plan, dataset: Dataset) -> bool:
    """A judge needs steps and every true label of the training set, which own images with few labels do not have."""
    return plan.judge_steps > 0 and bool((dataset.y_train >= 0).all())


def features_of(plan, dataset: Dataset) -> str:
    """What samples and real images are compared by, one of FEATURES: pixels where labels for a judge are missing, none
    where config.evaluation, `plan`, asks for its features but for no judge."""
    if plan.features != "judge" or is_judged(plan, dataset):
        return plan.features
    return "pixels" if plan.judge_steps else "none"


def check_fit(config, prepared: Prepared) -> None:
    """Pools that the regime needs, and what only the data can tell."""
    dataset, split = prepared.dataset, prepared.split
    if config.sampling.task == "colorization" and dataset.image_shape[-1] != 3:
        raise UserError(
            f"config.sampling.task colorization needs images of three channels: {dataset.name} has "
            f"{dataset.image_shape[-1]}"
        )
    if config.regime != "supervised" and len(split.unlabeled) == 0:
        budget = "num_positive" if config.regime == "pu" else "num_labels"
        more = {"folder": f"put some into {config.data.path}/unlabeled/", "npz": "add some with label -1 in y_train"}
        add = f"{more[config.data.name]}, or set " if config.data.name in more else "set "
        raise UserError(
            f"regime {config.regime} needs unlabelled images and none are left: {add}--config.data.{budget} less than "
            "there are labels, or --config.regime=supervised"
        )
    if config.regime == "pu" and not config.data.class_prior and min(len(split.labeled), len(split.unlabeled)) < 2:
        raise UserError(
            f"{len(split.labeled)} labelled positives and {len(split.unlabeled)} unlabelled images: "
            "config.data.class_prior is 0, and estimating it takes two of either: add images, or give it"
        )
    if config.teacher.method == "pvu" and len(split.labeled) < 2:
        raise UserError(
            "config.teacher.method pvu learns from labelled positives and is calibrated by others: give two or more"
        )
    if has_network(config.teacher.method):
        build_network(config.teacher, dataset.num_classes, config.dtype, dataset.image_shape)  # says what does not fit
    plan = config.evaluation
    count = len(dataset.x_train if plan.reference == "train" else dataset.x_test)
    if features_of(plan, dataset) != "none" and count <= plan.k:
        raise UserError(
            f"config.evaluation.k is {plan.k}, but {dataset.name} has {count} {plan.reference} images to compare with: "
            "make it smaller than that, or set config.evaluation.features=none"
        )


def prepare(config) -> Prepared:
    """Load the data and hide the labels that training may not see. Raises UserError for what does not fit."""
    check_there(config.data)
    try:
        dataset = load_dataset(config)
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *shared(dataset)))
        prepared = split_labels(config, dataset)
    except UserError as error:
        raise UserError(as_typed(str(error))) from None
    check_fit(config, prepared)
    return prepared


def as_typed(said: str) -> str:
    """A library's words with the fields that it names bare as the command line has them."""
    names = "|".join(name for name in FIELDS if "_" in name)
    return re.sub(rf"(?<![\w./-])({names})(?![\w./])", r"--config.data.\1", said)
