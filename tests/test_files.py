"""Whole files or nothing; paths as people type them."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from scoressl_jax import files
from scoressl_jax.errors import UserError
from scoressl_jax.files import (
    check_writable,
    flat,
    path_of,
    read_or_empty,
    write_bytes,
    write_json,
    write_npz,
    write_text,
)


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
        raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(OSError, match="disk full") as error:
        files._replace(path, fail)
    assert error.value.filename == str(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path], "what is half written takes no space"


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


def test_what_was_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"größe": [1, {"b": None}]})
    assert read_or_empty(str(tmp_path / "a.json")) == {"größe": [1, {"b": None}]}
    write_npz(tmp_path / "a.npz", x=np.arange(6).reshape(2, 3), y=np.array([0.5]))
    found = read_or_empty(tmp_path / "a.npz")
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], [[0, 1, 2], [3, 4, 5]])
    assert found["y"] == 0.5


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_what_is_absent_or_cut_short_reads_as_empty(suffix, tmp_path):
    """Wherever it is cut."""
    path = tmp_path / f"a{suffix}"
    assert read_or_empty(path) == {}
    assert read_or_empty(tmp_path / "no" / "folder" / path.name) == {}
    if suffix == ".json":
        path.write_text(json.dumps({"größe": [1, 2]}, ensure_ascii=False))
    else:
        write_npz(path, x=np.arange(50))
    whole = path.read_bytes()
    assert read_or_empty(path / path.name) == {}, "a file where a folder should be"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert read_or_empty(path) == {}, length


@pytest.mark.parametrize(
    ("text", "path"),
    [("~", "/home/me"), ("~/runs/a", "/home/me/runs/a"), ("runs/~", "runs/~"), ("/a b/ä", "/a b/ä"), ("a:b/c", "a:b/c"),
     ("C:/runs", "C:/runs"), (Path("~/a"), "/home/me/a")],
)  # fmt: skip
def test_paths_as_people_type_them(text, path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path_of(text) == Path(path)


@pytest.mark.parametrize(
    "text", ["gs://bucket/run", "s3://bucket", "file:///tmp/x", "hdfs://a/b", Path("gs://bucket/run")]
)
def test_what_is_of_no_file_system_here_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        path_of(text, "--workdir")
    said = str(error.value)
    assert said.startswith(f"--workdir={text}: only folders of this machine, or mounted ones")
    assert f"copy it from or to {str(text).split(':')[0]}:// yourself" in said
    assert not list(tmp_path.iterdir())


def test_a_home_that_is_not_there():
    with pytest.raises(UserError, match="^~nobody-of-this-name/x: there is no home directory ~nobody-of-this-name: "):
        path_of("~nobody-of-this-name/x")


def test_what_can_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "deep" / "er")
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep", tmp_path / "deep" / "er"]
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "in", Path("/proc/nowhere"), Path("/proc")):
        with pytest.raises(OSError, match=r"\[Errno"):
            check_writable(folder)


def test_nested_mappings_become_dotted_names_in_their_order():
    block = {"b": 1, "a": {"z": {"y": (2, 3)}, "x": None}, "c": {}}
    assert list(flat(block)) == [("b", 1), ("a.z.y", (2, 3)), ("a.x", None)]
    assert list(flat(block["a"], "a.")) == [("a.z.y", (2, 3)), ("a.x", None)]
