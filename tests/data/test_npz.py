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


def test_missing_file_and_folder(tmp_path):
    assert "no such file" in error_of(tmp_path / "none.npz")
    assert "no such file" in error_of(tmp_path)


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
