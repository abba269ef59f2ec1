"""Packed sets: the same arrays again, no file over the limit, nothing half-written, clear refusals."""

import numpy as np
import pytest

from scoressl_jax.__main__ import main
from scoressl_jax.data.npz import KEYS, load_npz

rng = np.random.default_rng(0)
NOISE = {  # incompressible: 240 images of 192 bytes are 46 kB
    "x_train": rng.integers(0, 256, (240, 8, 8, 3), np.uint8),
    "y_train": np.resize([0, 1, 2, -1], 240),
    "x_test": rng.integers(0, 256, (31, 8, 8, 3), np.uint8),
    "y_test": np.resize([2, 0, 1], 31),
}


@pytest.fixture
def noise(tmp_path):
    np.savez(tmp_path / "noise.npz", **NOISE)
    return tmp_path / "noise.npz"


def packed(capsys, *argv):
    """(exit code, lines on stdout but for the progress, lines on stderr)."""
    code = main(["pack", *(str(argument) for argument in argv)])
    said = capsys.readouterr()
    return code, [line for line in said.out.splitlines() if "packed" not in line], said.err.splitlines()


def assert_same(folder, file):
    one, other = load_npz(folder), load_npz(file)
    for key in KEYS:
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), strict=True)


def test_parts_under_the_limit_give_back_the_arrays(noise, tmp_path, capsys):
    code, lines, errors = packed(capsys, noise, tmp_path / "out", "--max-mb=0.01")
    assert (code, errors) == (0, [])
    found = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert len(found) > 5
    assert max(found.values()) <= 10_000
    assert_same(tmp_path / "out", noise)
    assert load_npz(tmp_path / "out").name == "out"

    _, *rows, total = [line.split() for line in lines if line.strip()]
    assert {row[0] for row in rows} == set(found)
    assert sum(int(row[1]) for row in rows) == int(total[1]) == 271
    assert float(total[2]) == pytest.approx(sum(found.values()) / 1e6, abs=0.005)


def test_images_that_compress_stay_together(tmp_path, capsys):
    grey = {key: np.zeros_like(array) if key.startswith("x") else array for key, array in NOISE.items()}
    np.savez(tmp_path / "grey.npz", **grey)
    assert packed(capsys, tmp_path / "grey.npz", tmp_path / "out", "--max-mb=0.02")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test-00001.npz", "train-00001.npz"]
    assert_same(tmp_path / "out", tmp_path / "grey.npz")


def test_large_sets_are_compressed_piece_by_piece(noise, tmp_path, capsys, monkeypatch):
    sizes, savez = [], np.savez_compressed
    monkeypatch.setattr(np, "savez_compressed", lambda file, **found: (sizes.append(found), savez(file, **found)))
    assert packed(capsys, noise, tmp_path / "out", "--max-mb=0.005")[0] == 0
    assert max(array.nbytes for arrays in sizes for array in arrays.values()) <= 4 * 5000
    assert_same(tmp_path / "out", noise)


def test_a_directory_of_parts_is_packed_again(noise, tmp_path, capsys):
    assert packed(capsys, noise, tmp_path / "small", "--max-mb", 0.01)[0] == 0
    assert packed(capsys, tmp_path / "small", tmp_path / "large")[0] == 0
    assert len(list((tmp_path / "large").iterdir())) == 2
    assert_same(tmp_path / "large", noise)


def test_a_limit_too_small_for_an_image(noise, tmp_path, capsys):
    code, _, errors = packed(capsys, noise, tmp_path / "out", "--max-mb=0.0005")
    assert code == 2
    assert len(errors) == 1
    assert "files of 500 bytes are too small: one image of x_train takes" in errors[0]
    assert not list((tmp_path / "out").iterdir()), "nothing half-done is left"


def test_a_directory_with_parts_is_left_alone(noise, tmp_path, capsys):
    before = noise.read_bytes()
    code, _, errors = packed(capsys, noise, tmp_path)
    assert code == 2
    assert len(errors) == 1
    assert f"{tmp_path} holds .npz files already" in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["noise.npz"]
    assert noise.read_bytes() == before


@pytest.mark.parametrize(("argv", "words"), [
    (["{noise}"], "OUT_DIR"),
    (["{noise}", "{tmp}/out", "--max-mb=0"], "--max-mb=0.0: it must be greater than 0"),
    (["{noise}", "{tmp}/out", "--max-mb=nan"], "--max-mb=nan: it must be greater than 0"),
    (["{noise}", "{tmp}/out", "--max-mb=much"], "'much'"),
    (["{tmp}/none.npz", "{tmp}/out"], "none.npz: no such file"),
    (["{noise}", "{noise}"], "cannot be written"),
])
def test_bad_input_is_one_line(noise, tmp_path, capsys, argv, words):
    code, _, errors = packed(capsys, *(argument.format(noise=noise, tmp=tmp_path) for argument in argv))
    assert code == 2
    assert len(errors) == 1, errors
    assert words in errors[0]
    assert not (tmp_path / "out").exists()
