"""A data set in memory: images, labels, class names."""

import dataclasses

import numpy as np

from scoressl_jax.errors import UserError

UNLABELED = -1
SHOWN = 20  # names in one line


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and test examples; build it with `make_dataset`, which checks them.

    x_*: uint8 [N, H, W, C] images. y_*: int32 [N] classes in 0..num_classes-1; -1 is unlabelled, in y_train only.
    notes: what a reader should know of how they were read, each a clause.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def image_shape(self):
        """(H, W, C)."""
        return self.x_train.shape[1:]


def make_dataset(name, x_train, y_train, x_test, y_test, class_names=None):
    """Check the arrays and return a Dataset.

    x_*: uint8 [N, H, W, C] with C 1 or 3, or [N, H, W] (grey). y_*: integers [N], -1 = unlabelled (y_train only).
    The number of classes is len(class_names), or the largest label + 1 if no names are given.
    Raises UserError, whose line begins with `name`, for anything else.
    """
    x_train, x_test = checked_images(f"{name}: x_train", x_train), checked_images(f"{name}: x_test", x_test)
    if x_train.shape[1:] != x_test.shape[1:]:
        raise UserError(
            f"{name}: training images are {_size(x_train)} but test images {_size(x_test)}: make them equal"
        )
    y_train = checked_labels(f"{name}: y_train", y_train, len(x_train), lowest=UNLABELED)
    y_test = checked_labels(f"{name}: y_test", y_test, len(x_test), lowest=0)
    return Dataset(name, x_train, y_train, x_test, y_test, _class_names(name, y_train, y_test, class_names))


def checked_images(what, x):
    """uint8 [N, H, W, C] of x: the one place that knows what an example looks like. A UserError begins with `what`."""
    x = np.asarray(x)
    if x.dtype != np.uint8:
        raise UserError(f"{what} holds {x.dtype} values: store the images as uint8 in 0..255")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[-1] not in (1, 3):
        raise UserError(f"{what} has shape {list(x.shape)}: make it [N, H, W, C] with 1 or 3 channels, or [N, H, W]")
    if x.size == 0:
        raise UserError(f"{what} is empty (shape {list(x.shape)}): at least one image is needed")
    return x


def checked_labels(what, y, count, lowest):
    """int32 [count] of y, none below `lowest`. A UserError begins with `what`."""
    y = np.asarray(y)
    if y.shape != (count,):
        raise UserError(f"{what} has shape {list(y.shape)} for {count} images: make it [{count}], one label an image")
    if not np.issubdtype(y.dtype, np.integer):
        raise UserError(f"{what} holds {y.dtype} values: store the labels as integers")
    if y.min() < lowest:
        means = "unlabelled test images cannot be measured: drop or label them" if lowest == 0 else "-1 is unlabelled"
        raise UserError(f"{what} holds {y.min()}, but labels start at {lowest}: {means}")
    if y.max() > np.iinfo(np.int32).max:
        raise UserError(f"{what} holds {y.max()}, which is too large for a class: number the classes 0, 1, 2, ...")
    return y.astype(np.int32)


def _class_names(name, y_train, y_test, class_names):
    present = np.unique(np.concatenate([y_train, y_test]))
    present = present[present != UNLABELED]
    count = int(present[-1]) + 1 if class_names is None else len(class_names)
    if present[-1] >= count:
        raise UserError(f"{name}: label {present[-1]} is out of range: {count} classes have labels 0..{count - 1}")
    if len(present) < count:
        # `present` is sorted, so its first entry that is not its own index follows a gap.
        gap = next((i for i, label in enumerate(present) if label != i), len(present))
        label = gap if class_names is None else f"{gap} ({class_names[gap]})"
        raise UserError(f"{name}: no image has label {label} of the {count} classes: number the classes without gaps")
    return tuple(str(i) for i in range(count)) if class_names is None else tuple(class_names)


def listed(names):
    """Names in a line, `SHOWN` of them."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _size(x):
    return "x".join(str(n) for n in x.shape[1:])
