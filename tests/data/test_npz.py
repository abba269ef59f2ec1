import numpy as np
import pytest

from scoressl_jax.data.npz import load_npz
from scoressl_jax.errors import UserError


def arrays(**changes):
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (50, 6, 6, 3), np.uint8),
        "y_train": np.resize([0, 1, -1], 50),
        "x_test": rng.integers(0, 256, (4, 6, 6, 3), np.uint8),
        "y_test": np.array([0, 1, 1, 0], np.uint8),
    } | changes


def error_of(path):
    with pytest.raises(UserError) as caught:
        load_npz(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_was_saved(tmp_path, save):
    save(tmp_path / "cells.npz", **arrays(), more=np.zeros(3))
    dataset = load_npz(str(tmp_path / "cells.npz"))
    for key, array in arrays().items():
        np.testing.assert_array_equal(getattr(dataset, key), array)
    assert (dataset.name, dataset.num_classes) == ("cells", 2)


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_missing_key(tmp_path, key):
    content = arrays()
    del content[key]
    np.savez(tmp_path / "a.npz", **content)
    assert f"lacks {key}:" in error_of(tmp_path / "a.npz")


@pytest.mark.parametrize(("changes", "words"), [
    ({"x_train": np.zeros((50, 6, 6, 3))}, "x_train holds float64"),
    ({"y_train": np.zeros(50)}, "y_train holds float64"),
    ({"y_test": np.array(["a", "b", "b", "a"])}, "y_test holds <U1"),
    ({"y_test": np.array([0, 1, -1, 0])}, "y_test holds -1"),
    ({"y_train": np.resize([0, None], 50)}, "y_train cannot be read"),
])
def test_wrong_types(tmp_path, changes, words):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    assert words in error_of(tmp_path / "a.npz")


def test_missing_file(tmp_path):
    assert "no such file or directory" in error_of(tmp_path / "none.npz")


# Directories of parts.

TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")


def save_part(path, keys, start=0, stop=None, **changes):
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{key: arrays(**changes)[key][start:stop] for key in keys})


def test_parts_are_joined_by_name(tmp_path):
    folder = tmp_path / "cells.v2"
    save_part(folder / "b.npz", TRAIN, 20, 41)  # written in another order than that of their names
    save_part(folder / "c.npz", (*TRAIN, *TEST), 41)
    save_part(folder / "a.npz", TRAIN, 0, 20)
    save_part(folder / "d.npz", TEST)
    (folder / "notes.txt").write_text("no part")
    dataset = load_npz(folder)
    for key in TRAIN:
        np.testing.assert_array_equal(getattr(dataset, key), arrays()[key])
    np.testing.assert_array_equal(dataset.x_test, arrays()["x_test"])
    assert (dataset.name, dataset.num_classes) == ("cells.v2", 2)


def test_directory_without_parts(tmp_path):
    assert "there is no .npz file" in error_of(tmp_path)


def test_parts_that_hold_no_test_images(tmp_path):
    save_part(tmp_path / "a.npz", TRAIN)
    assert f"{tmp_path} lacks x_test, y_test:" in error_of(tmp_path)


@pytest.mark.parametrize(("keys", "lacking"), [
    (("x_train",), "y_train"),
    (("y_test",), "x_test"),
    (("x_train", *TEST), "y_train"),
    ((), "x_train, y_train"),
])
def test_part_without_a_whole_pair(tmp_path, keys, lacking):
    save_part(tmp_path / "a.npz", (*TRAIN, *TEST))
    save_part(tmp_path / "b.npz", keys)
    assert f"{tmp_path / 'b.npz'} lacks {lacking}:" in error_of(tmp_path)


@pytest.mark.parametrize(("keys", "changes", "words"), [
    (TRAIN, {"x_train": np.zeros((50, 8, 6, 3), np.uint8)}, "x_train holds 8x6x3 uint8, but x_train of a.npz 6x6x3"),
    (TEST, {"x_test": np.zeros((4, 6, 6, 1), np.uint8)}, "x_test holds 6x6x1 uint8, but x_train of a.npz 6x6x3"),
    (TRAIN, {"x_train": np.zeros((50, 6, 6, 3))}, "x_train holds 6x6x3 float64, but x_train of a.npz 6x6x3 uint8"),
    (TRAIN, {"y_train": np.zeros(50)}, "y_train holds float64, but y_train of a.npz int64"),
    (TRAIN, {"y_train": np.zeros(49, int)}, "x_train has shape [50, 6, 6, 3] and y_train [49]"),
    (TEST, {"y_test": np.zeros((4, 1), int)}, "x_test has shape [4, 6, 6, 3] and y_test [4, 1]"),
])
def test_part_that_differs(tmp_path, keys, changes, words):
    save_part(tmp_path / "a.npz", (*TRAIN, *TEST))
    save_part(tmp_path / "b.npz", keys, **changes)
    assert f"{tmp_path / 'b.npz'}: {words}" in error_of(tmp_path)


def test_damaged_parts(tmp_path):
    save_part(tmp_path / "a.npz", (*TRAIN, *TEST))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[:-100])
    assert f"{tmp_path / 'b.npz'} is not a whole .npz file" in error_of(tmp_path)
    (tmp_path / "b.npz").write_bytes(whole[:1000] + bytes([whole[1000] ^ 0xFF]) + whole[1001:])
    assert f"{tmp_path / 'b.npz'}: x_train cannot be read" in error_of(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 no more", b"\x80\x04N."])
def test_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert "is not a whole .npz file" in error_of(tmp_path / "a.npz")


def test_array_in_place_of_an_archive(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert "is not a whole .npz file" in error_of(tmp_path / "a.npy")


def test_truncated_file(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    assert "is not a whole .npz file" in error_of(tmp_path / "a.npz")


def test_damaged_member(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    # The pixels of x_train, the first member, begin within the first 300 bytes.
    content[1000] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    assert "x_train cannot be read" in error_of(tmp_path / "a.npz")
