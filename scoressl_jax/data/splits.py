"""Which training images keep their labels: seeded splits, and index files of earlier work."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from scoressl_jax.data.dataset import UNLABELED, listed, make_dataset
from scoressl_jax.errors import UserError
from scoressl_jax.files import path_of


@dataclasses.dataclass(frozen=True)
class Split:
    """Sorted int32 indices into the training set, each in one of the two (n_u = N - n_l, as in the papers)."""

    labeled: np.ndarray
    unlabeled: np.ndarray


def balanced_split(y, num_labels, num_classes, seed):
    """Draw `num_labels` labelled images, spread over the classes as evenly as possible.

    y: int [N] in -1..num_classes-1; -1 (unlabelled) is never drawn. num_labels None or 0 takes every labelled image.
    A remainder goes to classes in a seeded order. With one seed, a larger budget contains a smaller one.
    Raises UserError if there are fewer labels than asked for, in total or in a class, or a class would have none.
    """
    rng = _generator(seed)
    y = np.asarray(y)
    available = np.bincount(y[y != UNLABELED], minlength=num_classes)
    if not num_labels:
        wanted = available
    else:
        _check_count("num_labels", num_labels, available.sum(), "labelled training images")
        wanted = np.full(num_classes, num_labels // num_classes)
        wanted[rng.permutation(num_classes)[: num_labels % num_classes]] += 1
    for label in range(num_classes):
        if wanted[label] == 0:
            raise UserError(
                f"class {label} would have no labelled image: every one of the {num_classes} classes "
                "needs at least one (raise num_labels, or label some)"
            )
        if wanted[label] > available[label]:
            raise UserError(
                f"num_labels={num_labels} needs {wanted[label]} images of class {label}, but there "
                f"are {available[label]} with a label: lower num_labels, or set it to 0 to take them all"
            )
    # Each class has a generator of its own, so that its order does not depend on the budget.
    drawn = [
        np.random.default_rng([seed, label]).permutation(np.flatnonzero(y == label))[: wanted[label]]
        for label in range(num_classes)
    ]
    return _split(np.concatenate(drawn), len(y))


def positive_split(y, positive_classes, num_positive, seed):
    """Draw `num_positive` labelled images from the positive classes; all other images are unlabelled.

    y: int [N]; positive_classes: the labels that count as positive. num_positive None or 0 takes every positive image.
    Raises UserError if there are fewer positive images than asked for, or none.
    """
    y = np.asarray(y)
    pool = np.flatnonzero(np.isin(y, list(positive_classes)) & (y != UNLABELED))
    if len(pool) == 0:
        raise UserError(f"no training image is of positive_classes={tuple(positive_classes)}: name labels that exist")
    num_positive = num_positive or len(pool)
    _check_count("num_positive", num_positive, len(pool), "positive training images")
    return _split(_generator(seed).permutation(pool)[:num_positive], len(y))


def class_numbers(class_names, given):
    """The number of each class that `given` names, by its name as text or by a whole number, which is the name of a
    class or, where none is called so, its place. UserError for what is no class, and for a number that may be two."""
    what = f"positive_classes={tuple(given)}"
    return [_by_text(what, class_names, c) if isinstance(c, str) else _by_number(what, class_names, c) for c in given]


def _by_text(what, names, name):
    if name not in names:
        raise UserError(f"{what}: there is no class {name!r}: name some of {listed(names)}")
    return names.index(name)


def _by_number(what, names, number):
    if not isinstance(number, int) or isinstance(number, bool):
        raise UserError(f"{what}: {number!r} is no class: name some of {listed(names)}")
    place, values = 0 <= number < len(names), [int(name) if name.isdecimal() else None for name in names]
    if number not in values:
        if not place or None not in values:
            raise UserError(f"{what}: there is no class {number}: name some of {listed(names)}")
        return number
    called = values.index(number)
    if called != number:
        other = f" or class number {number}, which is called {names[number]!r}" if place else ", another number"
        raise UserError(
            f"{what}: {number} may be the class called {names[called]!r}{other}: name it as text, ({names[called]!r},)"
        )
    return number


def binarize(dataset, positive_classes):
    """The same images with two classes: 1 if the label is among the numbers `positive_classes`, else 0; -1 stays -1.

    Raises UserError if either class would be empty.
    """
    positive_classes = list(positive_classes)
    strange = [c for c in positive_classes if c not in range(dataset.num_classes)]
    if strange or not 0 < len(set(positive_classes)) < dataset.num_classes:
        raise UserError(
            f"positive_classes={tuple(positive_classes)}: name some, but not all, of the {dataset.num_classes} classes "
            f"of {dataset.name}: {listed(dataset.class_names)}"
        )

    def binary(y):
        return np.where(y == UNLABELED, UNLABELED, np.isin(y, positive_classes))

    two = make_dataset(
        dataset.name,
        dataset.x_train,
        binary(dataset.y_train),
        dataset.x_test,
        binary(dataset.y_test),
        ("negative", "positive"),
    )
    return dataclasses.replace(two, notes=dataset.notes)


def save_split(path, split, seed):
    """Write the labelled indices, the number of unlabelled images and the seed as JSON."""
    content = {"labeled": split.labeled.tolist(), "unlabeled_count": len(split.unlabeled), "seed": seed}
    Path(path).write_text(json.dumps(content) + "\n")


def load_split(path, num_train):
    """Read labelled indices into a training set of `num_train` images; the other images are unlabelled.

    path: JSON of `save_split` (.json), a NumPy array [n] of integers (.npy), or text with one index a line.
    Raises UserError naming the file for one that is missing, unreadable or empty, and for an index that is not an
    integer, is out of range or comes twice.
    """
    path = path_of(path)
    read = {".json": _read_json, ".npy": _read_npy}.get(path.suffix.lower(), _read_text)
    try:
        indices, unlabeled_count = read(path)
    except OSError as error:
        raise UserError(f"index file {path}: {error.strerror}: give the path of an existing file") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError):
        raise UserError(
            f'index file {path} is malformed: it must be JSON of the form {{"labeled": [3, 14, ...]}} '
            "(.json), an integer array [n] (.npy), or text with one index a line"
        ) from None
    if not indices:
        raise UserError(f"index file {path} holds no index: list the labelled training images")
    seen = set()
    for index in indices:
        if not 0 <= index < num_train:
            raise UserError(f"index file {path}: {index} is not in 0..{num_train - 1}: is it of another data set?")
        if index in seen:
            raise UserError(f"index file {path}: {index} comes twice: remove one")
        seen.add(index)
    if unlabeled_count not in (None, num_train - len(indices)):
        raise UserError(
            f"index file {path} is of {len(indices) + unlabeled_count} training images, but there are "
            f"{num_train}: use the data set that it was made for"
        )
    return _split(indices, num_train)


def _read_json(path):
    content = json.loads(path.read_text("utf-8-sig"))
    indices, count = content["labeled"], content.get("unlabeled_count")
    # bool is an int in Python, but true is no index.
    if type(indices) is not list or any(type(n) is not int for n in [*indices, count or 0]):
        raise ValueError
    return indices, count


def _read_npy(path):
    array = np.load(path, allow_pickle=False)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError
    return array.tolist(), None


def _read_text(path):
    return [int(line) for line in path.read_text("utf-8-sig").splitlines() if line.strip()], None


def _split(labeled, num_train):
    unlabeled = np.ones(num_train, bool)
    unlabeled[labeled] = False
    return Split(np.flatnonzero(~unlabeled).astype(np.int32), np.flatnonzero(unlabeled).astype(np.int32))


def _check_count(what, count, available, of_what):
    if not 0 < count <= available:
        raise UserError(f"{what}={count}, but there are {available} {of_what}: give 1..{available}, or 0 for all")


def _generator(seed):
    if seed < 0:
        raise UserError(f"split_seed={seed} is negative: give 0 or more")
    return np.random.default_rng(seed)
