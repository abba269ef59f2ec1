"""Writing whole files or nothing: a kill at any moment leaves the old file or the new one."""

import json
import os
from pathlib import Path

import numpy as np


def _replace(path, write):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_bytes(path, data):
    _replace(path, lambda file: file.write(data))


def write_text(path, text):
    write_bytes(path, text.encode())


def write_json(path, value):
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_npz(path, **arrays):
    _replace(path, lambda file: np.savez_compressed(file, **arrays))
