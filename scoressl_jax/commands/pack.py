"""python -m scoressl_jax.data.pack FILE.npz OUT_DIR [--max-mb 60]: a data set in compressed parts of limited size.

For carrying a set where files may not be large. FILE.npz is what config.data.name=npz reads; OUT_DIR, which it reads as
well, gives back the same arrays, images in the same order.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.data.npz import PAIRS, load_npz
from scoressl_jax.errors import UserError, one_line
from scoressl_jax.files import write_bytes

MEGABYTE = 10**6
AT_ONCE = 4  # times the limit: so many bytes of images are compressed at once, at first


def parse(argv):
    parser = Parser(
        "python -m scoressl_jax.data.pack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE.npz", help="the set: an .npz file, or a directory of parts")
    parser.add_argument("out", metavar="OUT_DIR", type=Path, help="directory of the parts, with no .npz file in it")
    parser.add_argument("--max-mb", type=float, default=60.0, metavar="N", help="megabytes (10^6 bytes) a file (60)")
    options = parser.parse_args(argv)
    if not 0 < options.max_mb < float("inf"):
        parser.error(f"--max-mb={options.max_mb}: it must be greater than 0")
    return options


def pack(file, out, max_bytes, progress=lambda count: None):
    """Write the set of `file` as out/train-00001.npz ..., out/test-00001.npz ..., each `max_bytes` long at most.

    Returns [(path, images, bytes)]. `progress` is told how many images each part holds. Nothing is there under its
    name before all of it is written. Raises UserError for a set that cannot be read, a directory that holds .npz files
    already or cannot be written, and an image that alone takes more than `max_bytes`.
    """
    if out.is_dir() and any(out.glob("*.npz")):
        raise UserError(f"{out} holds .npz files already, which would become parts of the set: name another directory")
    dataset = load_npz(file)
    try:
        out.mkdir(parents=True, exist_ok=True)
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


def parts(keys, x, y, max_bytes):
    """Images x [N, H, W, C] and labels y [N] under `keys` as (bytes of an .npz file, its images), in order."""
    at_once = max(1, AT_ONCE * max_bytes // x[0].nbytes)
    for start in range(0, len(x), at_once):
        yield from halved(keys, x[start : start + at_once], y[start : start + at_once], max_bytes)


def halved(keys, x, y, max_bytes):
    """The same, by halving what is too large when compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(zip(keys, (x, y), strict=True)))
    data = buffer.getvalue()
    if len(data) <= max_bytes:
        yield data, len(x)
    elif len(x) == 1:
        raise UserError(
            f"--max-mb={max_bytes / MEGABYTE:g} is too little: one image of {keys[0]} takes {len(data):,} bytes"
        )
    else:
        middle = len(x) // 2
        yield from halved(keys, x[:middle], y[:middle], max_bytes)
        yield from halved(keys, x[middle:], y[middle:], max_bytes)


def main(argv):
    try:
        options = parse(argv)
        with tqdm(desc="packed", unit="image", unit_scale=True, file=sys.stdout, mininterval=1.0) as bar:
            written = pack(options.file, options.out, int(options.max_mb * MEGABYTE), bar.update)
    except UserError as error:
        print(f"scoressl_jax: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    print(f"{'file':<20}{'images':>10}{'MB':>10}")
    for path, count, size in [*written, (Path("all"), *(sum(row[i] for row in written) for i in (1, 2)))]:
        print(f"{path.name:<20}{count:>10,}{size / MEGABYTE:>10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
