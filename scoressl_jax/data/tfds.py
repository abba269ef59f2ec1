"""Data sets of TensorFlow Datasets (TFDS), read without TensorFlow where their files allow it."""

import contextlib
import dataclasses
import io
import logging
import os
import re

import numpy as np
from PIL import Image

from scoressl_jax.data.dataset import UNLABELED, make_dataset
from scoressl_jax.errors import UserError

TEST = ("test", "validation", "valid", "val")  # the first that is there, and has labels, is the test set
UNLABELED_SPLITS = ("unlabelled", "unlabeled")  # as of STL-10
CHANNELS = {1: "L", 3: "RGB"}
INSTALL = "pip install 'scoressl_jax[tfds]' (in a checkout: pip install -e '.[tfds]')"


def load_tfds(name, data_dir=None, download=False):
    """Read a prepared TFDS image-classification set (mnist, svhn_cropped, cifar10, cifar100, ...) as a Dataset.

    name: also with configuration or version, as `name/config:1.0.0`. data_dir: None is TFDS's own default, which is
    $TFDS_DATA_DIR or ~/tensorflow_datasets. Images come in the order of the prepared files, whatever their format.
    A split of unlabelled images joins the training images; a validation split serves where there is none for testing,
    or where the labels of that are not known.
    Nothing is downloaded unless `download` is True. Sets prepared as array_record or parquet are read without
    TensorFlow; preparing, and reading tfrecord, need it. Raises UserError for a name that TFDS lacks, a set that is not
    prepared or is damaged, missing TensorFlow, and sets without image and label or without train and test splits.
    """
    # Here, not above: the import takes a second, and few runs need it.
    import tensorflow_datasets as tfds

    data_dir = data_dir and os.path.expanduser(data_dir)
    with _quiet():
        builder = _builder(tfds, name, data_dir)
        if not builder.is_prepared():
            if not download:
                raise UserError(
                    f"{name} is not prepared in {builder.data_dir}: prepare it with "
                    "download=True, or give the path of the data directory where it is"
                )
            builder = _prepare(tfds, name, data_dir)
        _check(tfds, name, builder.info)
        tests, unlabelled = _splits(name, builder.info.splits)
        test, x_test, y_test = _labelled(tfds, name, builder, tests)
        x_train, y_train = _read(tfds, name, builder, "train")
        for split in unlabelled:
            images, _ = _read(tfds, name, builder, split)
            x_train = np.concatenate([x_train, images])
            y_train = np.concatenate([y_train, np.full(len(images), UNLABELED)])
    dataset = make_dataset(name, x_train, y_train, x_test, y_test, builder.info.features["label"].names)
    return dataclasses.replace(dataset, notes=_notes(tests, test, unlabelled, builder.info.splits))


def _splits(name, there):
    """The splits that may be for testing, in turn, and those without labels; there is one called train as well."""
    tests = [split for split in TEST if split in there]
    if "train" not in there or not tests:
        missing = "train" if tests else "test or validation"
        raise UserError(
            f"{name} has the splits {', '.join(there)}, but none called {missing}: choose a set with train and test"
        )
    return tests, [split for split in UNLABELED_SPLITS if split in there]


def _labelled(tfds, name, builder, tests):
    """(split, its images and labels) of the first for testing that is not without labels, as some sets' is."""
    for split in tests:
        images, labels = _read(tfds, name, builder, split)
        if (labels >= 0).any():
            return split, images, labels
    raise UserError(
        f"{name}: the labels of {' and '.join(tests)} are not known (-1), and accuracy is measured on them: choose a "
        "set with a labelled test or validation split"
    )


def _notes(tests, test, unlabelled, there):
    """What is not as everywhere, in words."""
    without = tests[: tests.index(test)]
    why = f", as the labels of {' and '.join(without)} are not known" if without else ""
    notes = [f"split {test} is the test set{why}"] if test != TEST[0] else []
    notes += [f"the images of split {split} are without labels" for split in unlabelled]
    unused = [split for split in there if split not in ("train", test, *unlabelled)]
    return (*notes, *([f"splits not used: {', '.join(unused)}"] if unused else []))


def _builder(tfds, name, data_dir, **options):
    # A name with a namespace (`huggingface:mnist`) would reach for the network.
    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        raise UserError(f"{name!r} is no data set of TFDS: give a name such as mnist or cifar10")
    # The broad catch: TFDS raises ValueError, AssertionError, FileNotFoundError, protobuf's errors, ...
    try:
        return tfds.builder(name, data_dir=data_dir, try_gcs=False, **options)
    except Exception as error:
        raise UserError(
            f"TFDS cannot open {name} ({_first_line(error)}): check the name, and that the files in "
            f"{data_dir or 'its default data_dir'} are whole"
        ) from None


def _prepare(tfds, name, data_dir):
    _need_tensorflow(f"preparing {name}")
    builder = _builder(tfds, name, data_dir, file_format="array_record")
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise UserError(
            f"{name} could not be prepared in {builder.data_dir} ({_first_line(error)}): check the network "
            "and the free disk space, then run the same command again"
        ) from None
    if not builder.is_prepared():
        raise UserError(f"{builder.data_dir} holds an unfinished preparation: delete this folder, then run again")
    return builder


def _check(tfds, name, info):
    features = dict(info.features.items())
    if not (
        isinstance(features.get("image"), tfds.features.Image)
        and isinstance(features.get("label"), tfds.features.ClassLabel)
    ):
        raise UserError(f"{name} has the features {', '.join(features)}: choose a set with an image and a class label")
    image = features["image"]
    if None in image.shape or image.shape[-1] not in CHANNELS or image.np_dtype != np.uint8:
        raise UserError(
            f"{name} has {np.dtype(image.np_dtype)} images of shape {list(image.shape)}: choose a set of "
            "uint8 images of one size with 1 or 3 channels"
        )


def _read(tfds, name, builder, split):
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    random_access = formats & {"array_record", "parquet"}
    if not random_access:
        _need_tensorflow(
            f"{name} in {builder.data_dir} is prepared as {', '.join(formats)}; reading that",
            ", or prepare it as array_record (in another data_dir)",
        )
    # One batched read, and decoding by ourselves, take half the time of TFDS's own iteration.
    decoders = {"image": tfds.decode.SkipDecoding()}
    try:
        if random_access:
            source = builder.as_data_source(split, decoders=decoders)
            examples = source.__getitems__(range(len(source)))
        else:
            # One file after the other, so that the order is that of the other formats.
            config = tfds.ReadConfig(interleave_cycle_length=1)
            examples = tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, read_config=config))
        mode = CHANNELS[builder.info.features["image"].shape[-1]]
        images, labels = zip(*((_decode(e["image"], mode), e["label"]) for e in examples), strict=True)
        return np.stack(images), np.array(labels)
    except Exception as error:
        raise UserError(
            f"{name}: the {split} files in {builder.data_dir} cannot be read ({_first_line(error)}): "
            "delete this folder and prepare the set again"
        ) from None


def _decode(encoded, mode):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert(mode))


def _need_tensorflow(what, otherwise=""):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError:
        raise UserError(f"{what} needs TensorFlow: {INSTALL}{otherwise}") from None
    # It would take the accelerator's memory, which JAX needs.
    tensorflow.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def _quiet():
    # TFDS warns of folders that it looks for and of libraries that would be faster.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
