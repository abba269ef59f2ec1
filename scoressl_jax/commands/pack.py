"""scoressl pack FILE.npz OUT_DIR [--max-mb=60]: a data set in compressed parts of limited size.

For carrying a set where files may not be large. FILE.npz is what config.data.name=npz reads; OUT_DIR, which it reads as
well, gives back the same arrays, images in the same order.
"""

import sys
from argparse import Namespace
from pathlib import Path

from tqdm import tqdm

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.data.pack import pack
from scoressl_jax.files import path_of

MEGABYTE = 10**6


def parse(argv: list) -> Namespace:
    parser = Parser("scoressl pack", description=__doc__)
    parser.add_argument("file", metavar="FILE.npz", help="the set: an .npz file, or a directory of parts")
    parser.add_argument("out", metavar="OUT_DIR", help="directory of the parts, with no .npz file in it")
    parser.add_argument("--max-mb", type=float, default=60.0, metavar="N", help="megabytes (10^6 bytes) a file (60)")
    options = parser.parse_args(argv)
    if not 0 < options.max_mb < float("inf"):
        parser.error(f"--max-mb={options.max_mb}: it must be greater than 0")
    return options


def main(argv: list) -> int:
    options = parse(argv)
    out = path_of(options.out)
    with tqdm(desc="packed", unit="image", unit_scale=True, file=sys.stdout, mininterval=1.0) as bar:
        written = pack(options.file, out, max_bytes=int(options.max_mb * MEGABYTE), progress=bar.update)
    print(f"{'file':<20}{'images':>10}{'MB':>10}")
    for path, count, size in [*written, (Path("all"), *(sum(row[i] for row in written) for i in (1, 2)))]:
        print(f"{path.name:<20}{count:>10,}{size / MEGABYTE:>10.2f}")
    return 0
