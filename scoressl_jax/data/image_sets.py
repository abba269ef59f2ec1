"""Images to compare, from any .npz file or folder, and the classes that two such sets have in common."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scoressl_jax.data import dataset, folder
from scoressl_jax.errors import UserError

KEYS = {"images": "labels", "arr_0": "arr_1", "x_train": "y_train", "x_test": "y_test"}  # the first found is taken
NONE = ""  # the class of an unlabelled image


@dataclass(frozen=True)
class ImageSet:
    """`images` uint8 [N, H, W, C]; `labels` names of classes, str [N], or None; `what` names the source in messages."""

    what: str
    images: np.ndarray
    labels: np.ndarray | None

    def __str__(self):
        size = "x".join(map(str, self.images.shape[1:]))
        labels = "no labels" if self.labels is None else f"{len(classes(self.labels))} classes"
        return f"{self.what}: {len(self.images):,} images {size}, {labels}"


def read_images(path, image_size=None):
    """The images of `path`, an .npz file or a folder, as an ImageSet.

    npz: uint8 [N, H, W, C] or [N, H, W] under the first of the KEYS, integer labels [N] under its partner (-1 is
    unlabelled). Folder: PNG and JPEG images, in class subfolders or all in one heap without labels; image_size resizes
    them to a square. Raises UserError.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return read_folder(path, image_size)
    if path.is_file():
        return read_npz(path)
    raise UserError(f"{path}: there is no such file or folder: name an .npz file or a folder of images")


def read_npz(path):
    # numpy reports a damaged file by many exception types, hence the broad catch.
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = [key for key in KEYS if key in file.files]
            held = {key: file[key] for key in (*keys[:1], *(KEYS[key] for key in keys[:1])) if key in file.files}
    except Exception as error:
        raise UserError(
            f"{path} is not a whole .npz file of plain arrays ({type(error).__name__}): write it with np.savez"
        ) from None
    if not held:
        raise UserError(f"{path} holds no images: save them uint8 [N, H, W, C] under one of {', '.join(KEYS)}")
    (key, images), *rest = held.items()
    what = f"{path}: {key}"
    images = dataset.checked_images(what, images)
    if not rest:
        return ImageSet(what, images, None)
    labels = dataset.checked_labels(f"{path}: {KEYS[key]}", rest[0][1], len(images), lowest=dataset.UNLABELED)
    names = np.where(labels == dataset.UNLABELED, NONE, labels.astype(str))
    return ImageSet(what, images, names if (labels >= 0).any() else None)


def read_folder(path, image_size):
    inside = [entry.is_dir() for entry in folder.entries(path)]
    if any(inside) and not all(inside):
        raise UserError(f"{path} holds folders and images: give each class a folder of its own, or use none")
    if not any(inside):
        return ImageSet(str(path), folder_images(path, folder.image_files(path), image_size), None)
    names, files = folder.labeled_files(path)
    if all(name.isdecimal() for name in names):
        names = [str(int(name)) for name in names]
    images = folder_images(path, [file for file, _ in files], image_size)
    return ImageSet(str(path), images, np.array(names)[[label for _, label in files]])


def folder_images(path, files, image_size):
    return dataset.checked_images(str(path), folder.read_files(files, image_size))


def classes(labels):
    """The class names in their order: numbers by value, words by the alphabet."""
    names = [str(name) for name in np.unique(labels) if name != NONE]
    return tuple(sorted(names, key=int) if numbered(names) else names)


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

    Labels are indices into the names, -1 for an unlabelled image. Classes are those of the reference, and what the
    samples have besides. Where one set has numbers and the other words, number i is the i-th word by the alphabet, as
    in a folder's data set.
    """
    own = [() if found.labels is None else classes(found.labels) for found in (reference, samples)]
    words = next((names for names in own if not numbered(names)), ())
    meant = {str(i): word for i, word in enumerate(words)} if any(map(numbered, own)) else {}
    reference_names, sample_names = ([meant.get(name, name) for name in names] for names in own)
    known = (*reference_names, *(name for name in sample_names if name not in reference_names))
    index = [{name: known.index(meant.get(name, name)) for name in names} for names in own]
    labels = [
        None if found.labels is None else np.array([at.get(str(name), -1) for name in found.labels])
        for found, at in zip((reference, samples), index, strict=True)
    ]
    return known, *labels
