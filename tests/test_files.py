"""Whole files or nothing."""

import json

import numpy as np
import pytest

from scoressl_jax import files
from scoressl_jax.files import write_bytes, write_json, write_npz, write_text


def test_contents(tmp_path):
    write_bytes(tmp_path / "deep" / "er" / "a.bin", b"\x00\x01")
    assert (tmp_path / "deep" / "er" / "a.bin").read_bytes() == b"\x00\x01"
    write_text(tmp_path / "a.txt", "größer\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "größer\n"
    write_json(tmp_path / "a.json", {"a": [1, 2.5]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5]}
    write_npz(tmp_path / "a.npz", images=np.arange(6, dtype=np.uint8).reshape(2, 3))
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], [[0, 1, 2], [3, 4, 5]])
    assert not list(tmp_path.rglob(".*"))


def test_replaced(tmp_path):
    write_text(tmp_path / "a.txt", "a long old text")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, images=np.zeros(3))
    old = path.read_bytes()

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files._replace(path, fail)
    assert path.read_bytes() == old


def test_what_cannot_be_written_as_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": 1, "b": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_a_part_left_by_a_kill_is_overwritten(tmp_path):
    (tmp_path / ".a.txt.part").write_text("left over, and longer than what comes")
    write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"
