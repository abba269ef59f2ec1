"""A data set in compressed parts of limited size, for carrying it where files may not be large.

What npz.py reads becomes a directory of .npz files, which it reads as well: the same arrays, images in the same order.
"""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from scoressl_jax.data.npz import PAIRS, load_npz
from scoressl_jax.errors import UserError
from scoressl_jax.files import check_writable, write_bytes

AT_ONCE = 4  # times the limit: so many bytes of images are compressed at once, at first


def pack(
    file: Path | str, out: Path, *, max_bytes: int, progress: Callable = lambda count: None
) -> list[tuple[Path, int, int]]:
    """Write the set of `file` as out/train-00001.npz ..., out/test-00001.npz ..., each `max_bytes` long at most.

    Returns [(path, images, bytes)]. `progress` is told how many images each part holds. Nothing is there under its
    name before all of it is written. Raises UserError for a set that cannot be read, a directory that holds .npz files
    already or cannot be written, and an image that alone takes more than `max_bytes`.
    """
    if out.is_dir() and any(out.glob("*.npz")):
        raise UserError(f"{out} holds .npz files already, which would become parts of the set: name another directory")
    dataset = load_npz(file)
    try:
        check_writable(out)
        with tempfile.TemporaryDirectory(prefix=".pack-", dir=out) as unfinished:
            written = []
            for pair in PAIRS:
                x, y = (getattr(dataset, key) for key in pair)
                name = pair[0].removeprefix("x_")
                for number, (data, count) in enumerate(parts(pair, x, y, max_bytes), 1):
                    path = out / f"{name}-{number:05}.npz"
                    write_bytes(Path(unfinished) / path.name, data)
                    written.append((path, count, len(data)))
                    progress(count)
            for path, _, _ in written:
                (Path(unfinished) / path.name).rename(path)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another directory") from None
    return written


def parts(keys: tuple, x: np.ndarray, y: np.ndarray, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Images x [N, H, W, C] and labels y [N] under `keys` as (bytes of an .npz file, its images), in order."""
    at_once = max(1, AT_ONCE * max_bytes // x[0].nbytes)
    for start in range(0, len(x), at_once):
        yield from halved(keys, x[start : start + at_once], y[start : start + at_once], max_bytes)


def halved(keys: tuple, x: np.ndarray, y: np.ndarray, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """The same, by halving what is too large when compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(zip(keys, (x, y), strict=True)))
    data = buffer.getvalue()
    if len(data) <= max_bytes:
        yield data, len(x)
    elif len(x) == 1:
        raise UserError(
            f"files of {max_bytes:,} bytes are too small: one image of {keys[0]} takes {len(data):,}: allow larger ones"
        )
    else:
        middle = len(x) // 2
        yield from halved(keys, x[:middle], y[:middle], max_bytes)
        yield from halved(keys, x[middle:], y[middle:], max_bytes)
