"""scoressl sample: what it draws is what scoressl_jax.open(RUN).sample draws, as .npz or as PNG files."""

import numpy as np
import pytest
from PIL import Image

import scoressl_jax
from scoressl_jax.data import digits

FLAGS = {"scale": 3.0, "sampler": "ddim", "steps": 3, "seed": 5}


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.setattr(digits, "load_digits", lambda: pytest.fail("the data set was read"))


def drawn(run, labels, **flags):
    return scoressl_jax.open(run).sample(labels, **flags)


def test_an_npz_of_the_classes_asked_for(scoressl, old_run, tmp_path):
    out = tmp_path / "deep" / "seven.npz"
    flags = [f"--{name}={value}" for name, value in FLAGS.items()]
    code, said, errors = scoressl("sample", old_run, f"--out={out}", "--classes=7,3", "--count=5", *flags)
    assert (code, errors) == (0, [])
    assert said.splitlines()[-1] == f"{out}: 5 images of 7, 3"
    assert "5/5" in said  # the progress
    with np.load(out) as found:
        assert set(found) == {"images", "labels", "class_names"}
        assert found["labels"].tolist() == [7, 3, 7, 3, 7]
        assert found["class_names"].tolist() == [str(i) for i in range(10)]
        assert (found["images"].dtype, found["images"].shape) == (np.uint8, (5, 8, 8, 1))
        np.testing.assert_array_equal(found["images"], drawn(old_run, ["7", "3", "7", "3", "7"], **FLAGS))


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_counts(name, old_run):
    """What the test above compares with is another without any one of the flags."""
    others = {flag: value for flag, value in FLAGS.items() if flag != name}
    assert (drawn(old_run, ["7", "3"], **FLAGS) != drawn(old_run, ["7", "3"], **others)).any()


def test_a_folder_of_pngs_by_class_as_the_run_draws(scoressl, old_run, tmp_path):
    out = tmp_path / "pictures"
    out.mkdir()  # empty, so it may be there
    code, said, errors = scoressl("sample", old_run, "--out", out)
    assert (code, errors) == (0, [])
    with np.load(old_run / "samples" / "samples.npz") as own:
        labels = own["labels"].tolist()
    assert said.splitlines()[-1] == f"{out}: {len(labels)} images of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert files == sorted(f"{label}/{i:05}.png" for i, label in enumerate(labels))
    expected = drawn(old_run, labels)
    for i, label in enumerate(labels):
        np.testing.assert_array_equal(np.asarray(Image.open(out / str(label) / f"{i:05}.png")), expected[i, ..., 0])


def test_a_place_that_is_taken_is_left_alone(refused, old_run, tmp_path, snapshot):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    (tmp_path / "taken.npz").write_text("mine")
    (tmp_path / "folder.npz").mkdir()
    before = snapshot(tmp_path)
    for name in ("taken", "taken.npz", "taken/mine.txt", "folder.npz"):
        assert f"--out={tmp_path / name} is there already" in refused("sample", old_run, f"--out={tmp_path / name}")
    for name in ("taken.npz/folder", "taken.npz/x.npz"):
        assert f"--out={tmp_path / name} cannot be written" in refused("sample", old_run, f"--out={tmp_path / name}")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--classes=3,dog"], "--classes=3,dog: there is no class 'dog'; choose among 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--classes=3,3"], "--classes=3,3: a class comes twice"),
        (["--classes="], "there is no class ''"),
        (["--sampler=ode", "--steps=20"], "--steps=20: sampler ode takes as many as it needs"),
    ],
)
def test_what_the_run_cannot_draw(flags, words, refused, old_run, tmp_path):
    assert words in refused("sample", old_run, f"--out={tmp_path / 'out.npz'}", *flags)
    assert not (tmp_path / "out.npz").exists()
