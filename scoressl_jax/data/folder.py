"""A data set from folders of PNG and JPEG images."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from scoressl_jax.data.dataset import UNLABELED, make_dataset
from scoressl_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
BINARY = ("negative", "positive")


def load_folder(path, image_size=None):
    """Read images as a Dataset, in the order of their file names; it is grey if all images are, else RGB.

    path holds labeled/<class>/*, unlabeled/* (optional) and test/<class>/*; for positive-unlabelled data positive/*,
    unlabeled/*, test/negative/* and test/positive/*. Classes are numbered in the order of their names.
    image_size: None (all images have one size) or an int: resize to image_size x image_size, stretching if not square.
    Transparency is dropped, rotation marks of cameras are applied. Raises UserError naming the file or folder at fault.
    """
    path = Path(path).expanduser()
    if image_size is not None and image_size < 1:
        raise UserError(f"image_size={image_size}: give at least 1 pixel")
    names = [entry.name for entry in entries(path)]
    if ("labeled" in names) == ("positive" in names):
        raise UserError(f"{path} must hold either labeled/<class>/ or, for positive-unlabelled data, positive/")
    positive_unlabeled = "positive" in names
    if positive_unlabeled:
        classes, train = BINARY, [(file, 1) for file in image_files(path / "positive")]
    else:
        classes, train = labeled_files(path / "labeled")
    if "unlabeled" in names or positive_unlabeled:
        train += [(file, UNLABELED) for file in image_files(path / "unlabeled")]
    test = _test(path, classes, positive_unlabeled)
    images = read_files([file for file, _ in train + test], image_size)
    y_train, y_test = [label for _, label in train], [label for _, label in test]
    dataset = make_dataset(str(path), images[: len(train)], y_train, images[len(train) :], y_test, classes)
    return dataclasses.replace(dataset, name=path.resolve().name)


def labeled_files(folder):
    """(names of the subfolders, their classes; [(file, class number)])."""
    classes = tuple(entry.name for entry in entries(folder))
    return classes, [(file, label) for label, name in enumerate(classes) for file in image_files(folder / name)]


def _test(path, classes, positive_unlabeled):
    folder = path / "test"
    if not folder.is_dir():
        example = "test/negative/ and test/positive/" if positive_unlabeled else "test/<class>/, say one in five"
        raise UserError(f"{folder} is missing: accuracy is measured on it; move some known images to {example}")
    names = [entry.name for entry in entries(folder)]
    for name in names:
        if name not in classes:
            raise UserError(
                f"{folder / name} has no class of this name to belong to (there are {', '.join(classes)}): "
                "rename or remove it, or label some training images"
            )
    if positive_unlabeled and len(names) < 2:
        raise UserError(f"{folder} holds only {names[0]}/: both test/negative/ and test/positive/ are needed")
    return [(file, classes.index(name)) for name in names for file in image_files(folder / name)]


def entries(folder):
    """What a folder holds, in the order of its names, but for hidden files; UserError where that is nothing."""
    try:
        found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: it must be a folder") from None
    if not found:
        raise UserError(f"{folder} is empty: put images into it, or remove it")
    return found


def image_files(folder):
    """The entries of a folder, all of which must be images; UserError names one that is not."""
    files = entries(folder)
    for file in files:
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            raise UserError(f"{file} is no PNG or JPEG image: move it out of {folder.name}/")
    return files


def read_files(files, image_size):
    """uint8 [N, H, W], or [N, H, W, 3] where one has colours; image_size as in load_folder."""
    images = [_read(file, image_size) for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            size, first = "x".join(map(str, image.shape[1::-1])), "x".join(map(str, images[0].shape[1::-1]))
            raise UserError(f"{file} is {size} pixels, but {files[0]} is {first}: set image_size to resize all of them")
    colour = any(image.ndim == 3 for image in images)
    if colour:
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
    return np.stack(images)


def _read(file, image_size):
    """uint8 [H, W] of a grey image, [H, W, 3] of any other."""
    # Pillow reports a damaged file by many exception types, hence the broad catch.
    try:
        with Image.open(file) as image:
            deep = image.mode[0] in "IF"
            image = ImageOps.exif_transpose(image).convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    except Exception as error:
        raise UserError(f"{file} cannot be read as an image ({type(error).__name__}): replace or remove it") from None
    if deep:
        raise UserError(f"{file} has more than 8 bits a channel: save it as an 8-bit image")
    if image_size is not None:
        # Pillow's bicubic widens its kernel when it shrinks an image, so it is antialiased.
        image = image.resize((image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(image)
