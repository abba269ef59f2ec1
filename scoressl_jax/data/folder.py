"""A data set from folders of images."""

import dataclasses
import re
import unicodedata

import numpy as np

from scoressl_jax.data.dataset import UNLABELED, listed, make_dataset
from scoressl_jax.data.pictures import Deep, is_picture, read_picture
from scoressl_jax.errors import UserError
from scoressl_jax.files import path_of

# Names of each part, of which the first that is there is taken.
LABELED, POSITIVE = ("labeled", "labelled", "train"), ("positive",)
UNLABELED_FOLDERS, TEST = ("unlabeled", "unlabelled"), ("test", "val", "valid", "validation")
PARTS = (*LABELED, *POSITIVE, *UNLABELED_FOLDERS, *TEST)
BINARY = ("negative", "positive")
SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin",
          "system volume information")  # fmt: skip


def load_folder(path, image_size=None, *, fit="crop", background="white", skip_damaged=False):
    """Read images as a Dataset, in the order of their file names; it is grey if all images are, else RGB.

    path holds labeled/<class>/*, unlabeled/* (optional) and test/<class>/*; for positive-unlabelled data positive/*,
    unlabeled/*, test/negative/* and test/positive/*. Where test/ is missing val/ serves. Classes are numbered in the
    natural order of their names, 10 after 2. Heaps (unlabeled/, positive/) may have folders inside.
    image_size: None (all images have one size) or an int: make them image_size x image_size. fit, background: as of
    read_picture. skip_damaged: leave out what cannot be read. Files of systems, and hidden ones, are skipped. The
    set's `notes` say what was. Raises UserError, which names every file at fault of a kind.
    """
    path = path_of(path)
    if image_size is not None and image_size < 1:
        raise UserError(f"image_size={image_size}: give at least 1 pixel")
    survey = Survey(path)
    entries = survey.entries(path)
    names = [entry.name for entry in entries if entry.is_dir()]
    parts = [next((n for n in known if n in names), None) for known in (LABELED, POSITIVE, UNLABELED_FOLDERS, TEST)]
    labeled, positive, unlabeled, test = parts
    if bool(labeled) == bool(positive):
        raise UserError(f"{path} must hold either labeled/<class>/ or, for positive-unlabelled data, positive/")
    if positive:
        classes, train = BINARY, [(file, 1) for file in survey.heap(path / positive)]
    else:
        classes, train = survey.classes(path / labeled)
    if unlabeled or positive:
        train += [(file, UNLABELED) for file in survey.heap(path / (unlabeled or UNLABELED_FOLDERS[0]))]
    held_out = _test(survey, path / (test or TEST[0]), classes, bool(positive))
    survey.check()
    images, kept = survey.read(
        [file for file, _ in train + held_out], image_size=image_size, fit=fit, background=background,
        skip_damaged=skip_damaged,
    )  # fmt: skip
    labels = np.array([label for _, label in train + held_out])[kept]
    count = int(kept[: len(train)].sum())
    dataset = make_dataset(str(path), images[:count], labels[:count], images[count:], labels[count:], classes)
    if test != TEST[0]:
        survey.notes.append(f"{test}/ is the test set")
    unused = [entry.name + "/" * entry.is_dir() for entry in entries if entry.name not in parts]
    if unused:
        survey.notes.append(f"not used: {listed(unused)}")
    return dataclasses.replace(dataset, name=path.resolve().name, notes=tuple(survey.notes))


def _test(survey, folder, classes, positive_unlabeled):
    """[(file, class number)] of the test set."""
    if not folder.is_dir():
        example = "test/negative/ and test/positive/" if positive_unlabeled else "test/<class>/, say one in five"
        raise UserError(f"{folder} is missing: accuracy is measured on it; move some known images to {example}")
    names, files = survey.classes(folder)
    known = {composed(name): i for i, name in enumerate(classes)}
    for name in names:
        if composed(name) not in known:
            near = [c for c in classes if composed(c).strip().lower() == composed(name).strip().lower()]
            hint = f": is it {near[0]!r}?" if near else ""
            raise UserError(
                f"{folder}/{name} has no class of the name {name!r} to belong to (there are {', '.join(classes)})"
                f"{hint}: rename or remove it, or label some training images"
            )
    if positive_unlabeled and len(names) < 2:
        raise UserError(f"{folder} holds only {names[0]}/: both test/negative/ and test/positive/ are needed")
    return [(file, known[composed(names[label])]) for file, label in files]


def composed(name):
    """A name with accents joined to their letters; macOS writes them apart."""
    return unicodedata.normalize("NFC", name)


def natural(name):
    """What names are sorted by: the numbers in them by value, so that 10 comes after 2."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))], name


def is_system(name):
    """Whether systems leave files or folders of this name lying about; hidden ones are meant too."""
    name = name.lower()
    return name.startswith(".") or name in SYSTEM or name.endswith("zone.identifier")


class Survey:
    """A look through the folders below `root`: what is no image is gathered, and named all at once by `check`.

    `notes` are words on what was skipped or left out.
    """

    def __init__(self, root):
        self.root, self.notes = root, []
        self.skipped, self.strange, self.loose = {}, [], []

    def entries(self, folder, least=1):
        """What a folder holds, in the order of its names; UserError where that is less than `least`."""
        try:
            found = sorted(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}: it must be a folder") from None
        kept = [entry for entry in found if not is_system(entry.name)]
        self.skipped |= {entry: entry.name.strip() for entry in found if is_system(entry.name)}
        if len(kept) < least:
            raise UserError(f"{folder} is empty: put images into it, or remove it")
        return kept

    def classes(self, folder):
        """(names of the subfolders in natural order, [(image, class number)])."""
        entries = self.entries(folder)
        self.loose += [entry for entry in entries if not entry.is_dir()]
        folders = sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: natural(entry.name))
        files = [(file, label) for label, inside in enumerate(folders) for file in self.images(inside)]
        return tuple(entry.name for entry in folders), files

    def images(self, folder):
        """The images of a folder that holds nothing else."""
        entries = self.entries(folder)
        self.strange += [entry for entry in entries if not is_picture(entry)]
        return [entry for entry in entries if is_picture(entry)]

    def heap(self, folder, around=()):
        """The images of a folder and of all folders in it."""
        here = folder.resolve()
        if here in around:
            raise UserError(f"{folder} is a link to a folder that it is in: remove it")
        files = []
        for entry in self.entries(folder, least=0 if around else 1):
            if entry.is_dir():
                files += self.heap(entry, (*around, here))
            elif is_picture(entry):
                files.append(entry)
            else:
                self.strange.append(entry)
        if not (files or self.strange or around):
            raise UserError(f"{folder} is empty: put images into it, or remove it")
        return files

    def below(self, files, reasons=()):
        """Names of files, from the root on, each with its reason if there are any."""
        names = [str(file.relative_to(self.root)) for file in files]
        return listed([f"{n} ({r})" for n, r in zip(names, reasons, strict=True)] if reasons else names)

    def check(self):
        """Raise a UserError that names all files that are where none of their kind can be; note what is skipped."""
        if self.loose:
            raise UserError(
                f"{self.root} holds {counted(self.loose)} beside the folders of classes: {self.below(self.loose)}; "
                "move each into the folder of its class, or away"
            )
        if self.strange:
            raise UserError(
                f"{self.root} holds {counted(self.strange)} of no readable kind of image: "
                f"{self.below(self.strange)}; move away what is no image, save what is one as PNG"
            )
        if self.skipped:
            names = listed(list(dict.fromkeys(self.skipped.values())))
            self.notes.append(f"{counted(self.skipped)} of the system, or hidden, skipped ({names})")

    def read(self, files, *, image_size=None, skip_damaged=False, **options):
        """(uint8 [n, H, W], or [n, H, W, 3] where one has colours; bool [N], which of the N files these are)."""
        found, deep, damaged = {}, [], {}
        for file in files:
            # Pillow reports a damaged file by many exception types, hence the broad catch.
            try:
                found[file] = read_picture(file, image_size=image_size, **options)
            except Deep:
                deep.append(file)
            except MemoryError:
                raise
            except Exception as error:
                damaged[file] = getattr(error, "strerror", None) or type(error).__name__
        if deep:
            raise UserError(
                f"{self.root} holds {counted(deep, 'image')} of more than 8 bits a channel: {self.below(deep)}; save "
                "as 8-bit images"
            )
        if damaged and not (skip_damaged and found):
            raise UserError(
                f"{self.root} holds {counted(damaged, 'damaged image')}: "
                f"{self.below(list(damaged), damaged.values())}; replace or remove what is damaged, or leave it out "
                "with skip_damaged=True"
            )
        if damaged:
            self.notes.append(f"{counted(damaged, 'damaged image')} left out ({self.below(list(damaged))})")
        self.check_sizes(found)
        return alike(list(found.values())), np.array([file in found for file in files])

    def check_sizes(self, found):
        (first, wanted), *_ = found.items()
        odd = [file for file, image in found.items() if image.shape[:2] != wanted.shape[:2]]
        if odd:
            size, others = ("x".join(map(str, image.shape[1::-1])) for image in (wanted, found[odd[0]]))
            more = f" ({len(odd):,} files differ)" if odd[1:] else ""
            raise UserError(
                f"{odd[0]} is {others} pixels, but {first} is {size}{more}: set image_size to resize all of them"
            )


def counted(files, what="file"):
    """`1 file`, `3 files`."""
    return f"{len(files):,} {what}{'s' * (len(files) > 1)}"


def alike(images):
    """One array of images [H, W] and [H, W, 3]: of three channels where any has them."""
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1) for image in images]
    return np.stack(images)
