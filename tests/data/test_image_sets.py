"""Images and labels from files of many kinds, and which classes two sets have in common."""

import numpy as np
import pytest
from PIL import Image

from scoressl_jax.data.image_sets import ImageSet, check_sizes, common_labels, read_images
from scoressl_jax.errors import UserError

IMAGES = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3, 1)
LABELS = np.array([2, 0, 10, -1])


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def folder(root, values):
    for name, value in values.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(root / name)
    return root


def refused(path, *args):
    with pytest.raises(UserError) as error:
        read_images(path, *args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "keys", [("images", "labels"), ("arr_0", "arr_1"), ("x_train", "y_train"), ("x_test", "y_test")]
)
def test_keys_of_npz_files(keys, tmp_path):
    found = read_images(saved(tmp_path / "a.npz", **dict(zip(keys, (IMAGES, LABELS), strict=True))))
    np.testing.assert_array_equal(found.images, IMAGES, strict=True)
    assert found.labels.tolist() == ["2", "0", "10", ""]
    assert str(found) == f"{tmp_path}/a.npz: {keys[0]}: 4 images 2x3x1, 3 classes"
    assert read_images(saved(tmp_path / "b.npz", **{keys[0]: IMAGES})).labels is None


def test_the_first_key_found_is_taken_with_its_own_labels(tmp_path):
    path = saved(tmp_path / "a.npz", x_test=IMAGES[:2], y_test=LABELS[:2], x_train=IMAGES, y_train=LABELS)
    found = read_images(path)
    assert found.what == f"{path}: x_train"
    assert len(found.images) == 4
    alone = read_images(saved(tmp_path / "b.npz", images=IMAGES, y_train=LABELS, arr_1=LABELS))
    assert alone.labels is None  # those of other keys are not of these images


def test_grey_images_without_a_channel_axis_and_labels_all_hidden(tmp_path):
    found = read_images(saved(tmp_path / "a.npz", images=IMAGES[..., 0], labels=np.full(4, -1)))
    np.testing.assert_array_equal(found.images, IMAGES, strict=True)
    assert found.labels is None


def test_damaged_and_unfit_npz_files(tmp_path):
    whole = saved(tmp_path / "a.npz", images=IMAGES)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-40])
    assert refused(cut).startswith(f"{cut} is not a whole .npz file")
    assert "no images" in refused(saved(tmp_path / "b.npz", pictures=IMAGES))
    assert "float64" in refused(saved(tmp_path / "c.npz", images=IMAGES / 255))
    assert "labels has shape [3] for 4" in refused(saved(tmp_path / "d.npz", images=IMAGES, labels=LABELS[:3]))
    assert "float64" in refused(saved(tmp_path / "e.npz", images=IMAGES, labels=LABELS / 2))
    assert "plain arrays" in refused(saved(tmp_path / "f.npz", images=np.array([{}])))
    assert "is empty" in refused(saved(tmp_path / "g.npz", images=IMAGES[:0]))
    assert "no such file" in refused(tmp_path / "nothing.npz")


def test_folder_of_classes(tmp_path):
    found = read_images(folder(tmp_path / "pets", {"dog/b.png": 1, "cat/a.png": 2, "dog/a.png": 3}))
    assert found.images[:, 0, 0, 0].tolist() == [2, 3, 1]
    assert found.labels.tolist() == ["cat", "dog", "dog"]
    assert found.images.shape == (3, 4, 6, 1)
    assert read_images(tmp_path / "pets", 2).images.shape == (3, 2, 2, 1)


def test_folder_of_images_alone_has_no_labels(tmp_path):
    found = read_images(folder(tmp_path / "heap", {"b.png": 1, "a.jpg": 200}))
    assert found.labels is None
    assert found.images.shape == (2, 4, 6, 1)


def test_unfit_folders(tmp_path):
    folder(tmp_path / "mixed", {"a.png": 1, "cat/a.png": 1})
    assert "folders and images" in refused(tmp_path / "mixed")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(tmp_path / "empty")
    folder(tmp_path / "bad", {"cat/a.png": 1})
    (tmp_path / "bad" / "dog").mkdir()
    assert "dog is empty" in refused(tmp_path / "bad")
    (tmp_path / "bad" / "dog" / "b.png").write_bytes(b"no picture")
    assert "b.png cannot be read" in refused(tmp_path / "bad")


def labelled(labels):
    return ImageSet("set", np.zeros((len(labels), 2, 2, 1), np.uint8), np.array(labels))


def test_classes_in_common_go_by_name():
    names, real, samples = common_labels(labelled(["dog", "cat", "owl"]), labelled(["owl", "bee", "cat", ""]))
    assert names == ("cat", "dog", "owl", "bee")
    assert real.tolist() == [1, 0, 2]
    assert samples.tolist() == [2, 3, 0, -1]


def test_numbers_go_by_value():
    names, real, samples = common_labels(labelled(["10", "2"]), labelled(["2", "3"]))
    assert names == ("2", "10", "3")
    assert (real.tolist(), samples.tolist()) == ([1, 0], [0, 2])


def test_numbers_mean_the_words_of_the_other_set_in_their_order():
    """A run numbers the classes of a folder by the alphabet."""
    names, real, samples = common_labels(labelled(["dog", "cat"]), labelled(["1", "0", "7"]))
    assert names == ("cat", "dog", "7")
    assert (real.tolist(), samples.tolist()) == ([1, 0], [1, 0, 2])
    names, real, samples = common_labels(labelled(["1", "0"]), labelled(["dog", "cat"]))
    assert names == ("cat", "dog")
    assert (real.tolist(), samples.tolist()) == ([1, 0], [1, 0])


def test_folders_whose_names_are_numbers_are_those_numbers(tmp_path):
    found = read_images(folder(tmp_path / "digits", {"10/a.png": 1, "02/a.png": 2}))
    names, real, samples = common_labels(found, labelled(["2", "10"]))
    assert names == ("2", "10")
    assert found.images[:, 0, 0, 0].tolist() == [2, 1]
    assert real.tolist() == samples.tolist() == [0, 1]


def test_sets_without_labels():
    bare = ImageSet("set", np.zeros((2, 2, 2, 1), np.uint8), None)
    names, real, samples = common_labels(bare, labelled(["b", "a"]))
    assert (names, real, samples.tolist()) == (("a", "b"), None, [1, 0])
    assert common_labels(bare, bare) == ((), None, None)


def test_sizes_must_agree():
    small, large = (ImageSet(name, np.zeros((1, n, n, 3), np.uint8), None) for name, n in (("A", 2), ("B", 4)))
    check_sizes(small, small)
    with pytest.raises(UserError, match=r"images of A are 2x2x3 .* those of B 4x4x3"):
        check_sizes(small, large)
