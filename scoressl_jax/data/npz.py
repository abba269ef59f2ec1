"""A data set from one .npz file."""

import dataclasses
from pathlib import Path

import numpy as np

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError

KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path):
    """Read x_train, x_test (uint8 [N, H, W, C] or [N, H, W]) and y_train, y_test (integers [N]) as a Dataset.

    -1 in y_train is unlabelled. Raises UserError naming the file, and the key if one is at fault.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file: give the path of an .npz file with the keys {', '.join(KEYS)}")
    # numpy reports a damaged file by many exception types, hence the broad catch.
    try:
        file = np.load(path, allow_pickle=False)
        missing = [key for key in KEYS if key not in file.files]
    except Exception as error:
        raise UserError(f"{path} is not a whole .npz file ({type(error).__name__}): write it with np.savez") from None
    with file:
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}: save it with the keys {', '.join(KEYS)}")
        arrays = [_read(file, key, path) for key in KEYS]
    return dataclasses.replace(make_dataset(str(path), *arrays), name=path.stem)


def _read(file, key, path):
    try:
        return file[key]
    except Exception as error:
        raise UserError(
            f"{path}: {key} cannot be read ({type(error).__name__}): it is damaged or holds "
            "Python objects; save it again as a plain array"
        ) from None
