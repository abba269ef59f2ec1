"""Images to compare, from any .npz file or folder, and the classes that two such sets have in common."""

from dataclasses import dataclass

import numpy as np

from scoressl_jax.data import dataset, folder
from scoressl_jax.errors import UserError
from scoressl_jax.files import path_of

KEYS = {"images": "labels", "arr_0": "arr_1", "x_train": "y_train", "x_test": "y_test"}  # the first found is taken
NAMES = "class_names"  # key of what the labels 0, 1, 2 ... are called
NONE = ""  # the class of an unlabelled image


@dataclass(frozen=True)
class ImageSet:
    """`images` uint8 [N, H, W, C]; `labels` names of classes, str [N], or None; `what` names the source in messages.

    `names` are those of its classes in their order, None where its labels are mere numbers. `notes` as of a Dataset.
    """

    what: str
    images: np.ndarray
    labels: np.ndarray | None
    names: tuple | None = None
    notes: tuple = ()

    def __str__(self):
        size = "x".join(map(str, self.images.shape[1:]))
        labels = "no labels" if self.labels is None else f"{len(classes(self.labels))} classes"
        return "; ".join([f"{self.what}: {len(self.images):,} images {size}, {labels}", *self.notes])


def read_images(path, image_size=None, **options):
    """The images of `path`, an .npz file or a folder, as an ImageSet.

    npz: uint8 [N, H, W, C] or [N, H, W] under the first of the KEYS, integer labels [N] under its partner (-1 is
    unlabelled), and what these are called under class_names. Folder: images in class subfolders or all in one heap
    without labels; image_size and the options (fit, background, skip_damaged) are those of load_folder. Raises
    UserError.
    """
    path = path_of(path)
    if path.is_dir():
        return read_folder(path, image_size, **options)
    if path.is_file():
        return read_npz(path)
    raise UserError(f"{path}: there is no such file or folder: name an .npz file or a folder of images")


def read_npz(path):
    # numpy reports a damaged file by many exception types, hence the broad catch.
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = [key for key in KEYS if key in file.files]
            wanted = (*keys[:1], *(KEYS[key] for key in keys[:1]), NAMES)
            held = {key: file[key] for key in wanted if key in file.files}
    except Exception as error:
        raise UserError(
            f"{path} is not a whole .npz file of plain arrays ({type(error).__name__}): write it with np.savez"
        ) from None
    names = held.pop(NAMES, None)
    if not held:
        raise UserError(f"{path} holds no images: save them uint8 [N, H, W, C] under one of {', '.join(KEYS)}")
    (key, images), *rest = held.items()
    what = f"{path}: {key}"
    images = dataset.checked_images(what, images)
    if not rest:
        return ImageSet(what, images, None)
    labels = dataset.checked_labels(f"{path}: {KEYS[key]}", rest[0][1], len(images), lowest=dataset.UNLABELED)
    if not (labels >= 0).any():
        return ImageSet(what, images, None)
    if names is None:
        return ImageSet(what, images, np.where(labels == dataset.UNLABELED, NONE, labels.astype(str)))
    names = checked_names(f"{path}: {NAMES}", names, labels.max())
    return ImageSet(what, images, np.array([*names, NONE])[labels], names)


def checked_names(what, names, highest):
    """A tuple of different names, one for each label up to `highest`."""
    texts = names.ndim == 1 and names.dtype.kind == "U"
    if not texts or len({*names.tolist(), NONE}) <= len(names) or len(names) <= highest:
        raise UserError(f"{what} must be {highest + 1} or more different names as text, one for each label from 0 on")
    return by_value(names.tolist())


def by_value(names):
    """Names; where all are numbers and no two the same number, these as they are usually written."""
    values = tuple(str(int(name)) for name in names) if numbered(names) else ()
    return values if len(set(values)) == len(names) else tuple(names)


def read_folder(path, image_size, **options):
    survey, names, labels = folder.Survey(path), None, None
    if any(entry.is_dir() for entry in survey.entries(path)):
        names, labelled = survey.classes(path)
        files, numbers = [file for file, _ in labelled], np.array([label for _, label in labelled], int)
        names = by_value(names)
    else:
        files, numbers = survey.images(path), None
    survey.check()
    images, kept = survey.read(files, image_size=image_size, **options)
    if names:
        labels = np.array(names)[numbers[kept]]
    return ImageSet(str(path), dataset.checked_images(str(path), images), labels, names, tuple(survey.notes))


def classes(labels):
    """The class names in their order: numbers by value, words by the alphabet, 10 after 2."""
    return tuple(sorted((str(name) for name in np.unique(labels) if name != NONE), key=folder.natural))


def numbered(names):
    return all(name.isdecimal() for name in names)


def check_sizes(reference, samples):
    sizes = ["x".join(map(str, images.shape[1:])) for images in (reference.images, samples.images)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"images of {reference.what} are {sizes[0]} (height, width, channels), those of {samples.what} {sizes[1]}: "
            "make them equal (--image-size=N resizes those of folders)"
        )


def common_labels(reference, samples):
    """(class names, labels of `reference`, labels of `samples`), labels int [N] or None where a set has none.

    Classes go by their names: those of the reference in their order, and what the samples have besides. Labels are
    indices into them, -1 for an unlabelled image. Where one set has mere numbers, number i is the i-th class of the
    other one. Raises UserError where that is not certain, and where no class is in both.
    """
    both, names = (reference, samples), [names_of(found) for found in (reference, samples)]
    of = [in_words(found, own, other) for found, own, other in zip(both, names, names[::-1], strict=True)]
    in_each = [[*words.values()] for words in of]
    if all(in_each) and not set(in_each[0]) & set(in_each[1]):
        raise UserError(
            f"no class of {reference.what} ({dataset.listed(in_each[0])}) is in {samples.what} "
            f"({dataset.listed(in_each[1])}): call them the same, or leave the labels of one out"
        )
    known = tuple(dict.fromkeys(sum(in_each, [])))
    index = [{NONE: -1} | {label: known.index(name) for label, name in words.items()} for words in of]
    labels = [
        None if found.labels is None else np.array([at[str(label)] for label in found.labels])
        for found, at in zip(both, index, strict=True)
    ]
    return known, *labels


def names_of(found):
    """The classes of a set in their order; none where its labels are mere numbers, or there are none."""
    names = found.names or (() if found.labels is None else classes(found.labels))
    return names if found.names or not numbered(names) else ()


def in_words(found, own, words):
    """{class of a set as its labels have it: its name}, in the order of its classes; `own` are the names of its classes
    and `words` those of the other set's, if they have names."""
    present = () if found.labels is None else classes(found.labels)
    if own or not words:
        return {name: name for name in own or present if name in present}
    places = dict(zip(map(str, range(len(words))), words, strict=True))
    certain = set(present) <= set(places)
    if numbered(words):  # numbers that may be places or names must be the same as either
        certain = not certain or all(places[name] == name for name in present)
        places = dict(zip(present, present, strict=True))
    if not certain:
        raise UserError(
            f"the labels of {found.what} are numbers ({dataset.listed(present)}), and it is not certain which of "
            f"{dataset.listed(words)} they mean: save {NAMES} beside them, or leave them out"
        )
    return {name: places[name] for name in present}
