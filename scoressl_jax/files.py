"""Whole files or nothing: a kill at any moment leaves the old file or the new; what is cut short reads as empty."""

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np


def _replace(path: Path | str, write: Callable) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


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
