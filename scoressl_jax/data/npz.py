"""A data set from one .npz file, or from a directory of them, each a part."""

import dataclasses

import numpy as np

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError
from scoressl_jax.files import path_of

PAIRS = (("x_train", "y_train"), ("x_test", "y_test"))
KEYS = tuple(key for pair in PAIRS for key in pair)


def load_npz(path):
    """Read x_train, x_test (uint8 [N, H, W, C] or [N, H, W]) and y_train, y_test (integers [N]) as a Dataset.

    -1 in y_train is unlabelled. Of a directory every .npz is a part, in the order of their names: the arrays of a key
    are joined, and a part may lack the two of training or of test. The set is called as the file (without .npz) or the
    directory. Raises UserError naming the file, and the key if one is at fault.
    """
    path = path_of(path)
    if path.is_dir():
        arrays, name = _join(_read_parts(path)), path.absolute().name
    elif path.is_file():
        arrays, name = _read_file(path), path.stem
    else:
        raise UserError(
            f"{path}: no such file or directory: give the path of an .npz file with the keys {', '.join(KEYS)}, or of "
            "a directory of such files"
        )
    _require(path, arrays, KEYS)
    return dataclasses.replace(make_dataset(str(path), *(arrays[key] for key in KEYS)), name=name)


def _read_parts(folder):
    """[(path, {key: array})], each part with whole pairs of keys."""
    parts = [(path, _read_file(path)) for path in sorted(folder.glob("*.npz"))]
    if not parts:
        raise UserError(f"{folder}: there is no .npz file in this directory: put the parts of the data set there")
    for path, arrays in parts:
        for pair in PAIRS:
            if not arrays or any(key in arrays for key in pair):
                _require(path, arrays, pair)
                _check_counts(path, pair, arrays)
    return parts


def _join(parts):
    """{key: array}; arrays of one key must have one type, and all images one size."""
    joined, first = {}, {}
    for path, arrays in parts:
        for key, array in arrays.items():
            what = "images" if key.startswith("x") else key
            before = first.setdefault(what, (path, key, array))
            if _kind(array) != _kind(before[2]):
                raise UserError(
                    f"{path}: {key} holds {_kind(array)}, but {before[1]} of {before[0].name} {_kind(before[2])}: "
                    "make the parts alike"
                )
            joined.setdefault(key, []).append(array)
    return {key: np.concatenate(arrays) for key, arrays in joined.items()}


def _kind(array):
    return " ".join(["x".join(str(n) for n in array.shape[1:]), str(array.dtype)]).strip()


def _check_counts(path, pair, arrays):
    x, y = (arrays[key].shape for key in pair)
    if x[:1] != y or not x:
        raise UserError(
            f"{path}: {pair[0]} has shape {list(x)} and {pair[1]} {list(y)}: store an image and a label for each other"
        )


def _require(path, arrays, keys):
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: save it with the keys {', '.join(keys)}")


def _read_file(path):
    """{key: array} of the KEYS that the file holds."""
    # numpy reports a damaged file by many exception types, hence the broad catch.
    try:
        file = np.load(path, allow_pickle=False)
        found = [key for key in KEYS if key in file.files]
    except Exception as error:
        raise UserError(f"{path} is not a whole .npz file ({type(error).__name__}): write it with np.savez") from None
    with file:
        return {key: _read(file, key, path) for key in found}


def _read(file, key, path):
    try:
        return file[key]
    except Exception as error:
        raise UserError(
            f"{path}: {key} cannot be read ({type(error).__name__}): it is damaged or holds "
            "Python objects; save it again as a plain array"
        ) from None
