"""Whole files or nothing: a kill at any moment leaves the old file or the new; what is cut short reads as empty.

And paths as people type them.
"""

import contextlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from scoressl_jax.errors import UserError

ELSEWHERE = re.compile("[a-zA-Z][a-zA-Z0-9+.-]+:/")  # gs://bucket/run; pathlib makes one slash of two


def path_of(text: Path | str, flag: str = "") -> Path:
    """The path that somebody has typed, for `flag` (--workdir): ~ is a home. A UserError where there is no such home,
    and for what is of no file system here."""
    said, shown = os.fspath(text), f"{flag}{'=' * bool(flag)}{os.fspath(text)}"
    if ELSEWHERE.match(said):
        raise UserError(
            f"{shown}: only folders of this machine, or mounted ones, can be used: name one, and copy it from or to "
            f"{said.split(':')[0]}:// yourself (gsutil rsync, aws s3 sync)"
        )
    try:
        return Path(said).expanduser()
    except RuntimeError:
        raise UserError(f"{shown}: there is no home directory {Path(said).parts[0]}: write the path in full") from None


def check_writable(folder: Path) -> None:
    """Raise OSError where no file can be made in `folder`, which is made: to be known before hours of work."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _replace(path: Path | str, write: Callable) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # of a full disk, it does not say where
        with contextlib.suppress(OSError):
            part.unlink()
        error.filename = str(path)
        raise


def write_bytes(path: Path | str, data: bytes) -> None:
    _replace(path, lambda file: file.write(data))


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: object) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_npz(path: Path | str, **arrays: np.ndarray) -> None:
    _replace(path, lambda file: np.savez_compressed(file, **arrays))


def read_or_empty(path: Path | str) -> dict:
    """The content of a .json or .npz file; {} where it is absent or cut short."""
    path = Path(path)
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        with np.load(path) as arrays:
            return dict(arrays)
    except (FileNotFoundError, NotADirectoryError, EOFError, ValueError, zipfile.BadZipFile):
        return {}


def flat(block: Mapping, prefix: str = "") -> Iterator:
    """Nested mappings -> pairs of a dotted name and what stands there."""
    for name, value in block.items():
        if hasattr(value, "items"):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
