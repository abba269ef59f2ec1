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


def refused(path, *args, **options):
    with pytest.raises(UserError) as error:
        read_images(path, *args, **options)
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


def test_names_of_the_labels_of_an_npz_file(tmp_path):
    names = np.array(["owl", "cat", "bee"])
    found = read_images(saved(tmp_path / "a.npz", images=IMAGES, labels=np.array([2, 0, 1, -1]), class_names=names))
    assert found.labels.tolist() == ["bee", "owl", "cat", ""]
    assert found.names == ("owl", "cat", "bee")
    numbers = np.array([f"{i:02}" for i in range(11)])
    found = read_images(saved(tmp_path / "b.npz", images=IMAGES, labels=LABELS, class_names=numbers))
    assert found.labels.tolist() == ["2", "0", "10", ""]
    for wrong in (names, names[:2], np.array(["a"] * 11), np.arange(11), np.array([[str(i)] for i in range(11)])):
        message = refused(saved(tmp_path / "c.npz", images=IMAGES, labels=LABELS, class_names=wrong))
        assert "c.npz: class_names must be 11 or more different names as text" in message


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
    assert found.names == ("cat", "dog")


def test_folders_are_read_as_those_of_a_data_set(tmp_path):
    root = folder(tmp_path / "pets", {"cat/a.webp": 2, "dog/b.png": 1})
    image = np.zeros((4, 6, 4), np.uint8)
    Image.fromarray(image).save(root / "dog/a.png")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / "dog/c.png").write_bytes(b"x")
    assert "pets holds 1 damaged image: dog/c.png" in refused(root)
    found = read_images(root, 4, fit="pad", background="black", skip_damaged=True)
    assert found.images.shape == (3, 4, 4, 3)
    assert (found.images[1] == 0).all()
    assert found.labels.tolist() == ["cat", "dog", "dog"]
    assert found.notes == (
        "1 file of the system, or hidden, skipped (Thumbs.db)",
        "1 damaged image left out (dog/c.png)",
    )
    assert str(found) == f"{root}: 3 images 4x4x3, 2 classes; {'; '.join(found.notes)}"


def test_folder_of_images_alone_has_no_labels(tmp_path):
    found = read_images(folder(tmp_path / "heap", {"b.png": 1, "a.jpg": 200}))
    assert found.labels is None
    assert found.images.shape == (2, 4, 6, 1)


def test_unfit_folders(tmp_path):
    folder(tmp_path / "mixed", {"a.png": 1, "cat/a.png": 1})
    assert "mixed holds 1 file beside the folders of classes: a.png" in refused(tmp_path / "mixed")
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(tmp_path / "empty")
    folder(tmp_path / "bad", {"cat/a.png": 1})
    (tmp_path / "bad" / "dog").mkdir()
    assert "dog is empty" in refused(tmp_path / "bad")
    (tmp_path / "bad" / "dog" / "b.png").write_bytes(b"no picture")
    assert "bad holds 1 damaged image: dog/b.png" in refused(tmp_path / "bad")


def labelled(labels, names=None):
    """An .npz file's set, with class_names or without, or a folder's: names are those of its classes in order."""
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    return ImageSet("set", images, np.array(labels), tuple(names.split()) if names else None)


def test_classes_in_common_go_by_name():
    real, samples = labelled(["dog", "cat", "owl"], "owl cat dog"), labelled(["owl", "bee", "cat", ""], "bee cat owl")
    names, y_real, y_samples = common_labels(real, samples)
    assert names == ("owl", "cat", "dog", "bee")
    assert y_real.tolist() == [2, 1, 0]
    assert y_samples.tolist() == [0, 3, 1, -1]
    few = labelled(["cat", "cat"], "bee cat dog owl")  # some of its classes alone are there
    assert common_labels(real, few)[0] == ("owl", "cat", "dog")
    assert common_labels(few, real)[0] == ("cat", "owl", "dog")


def test_numbers_go_by_value():
    for names in (None, "2 10"):
        names, real, samples = common_labels(labelled(["10", "2"], names), labelled(["2", "3"]))
        assert names == ("2", "10", "3")
        assert (real.tolist(), samples.tolist()) == ([1, 0], [0, 2])


def test_numbers_mean_the_classes_of_the_other_set_in_their_order():
    """As a run's samples without class_names do."""
    bare, named = labelled(["1", "0"]), labelled(["owl", "cat", "owl"], "owl cat bee")
    for reference, samples in ((bare, named), (named, bare)):
        found = common_labels(reference, samples)
        assert found[0] == ("owl", "cat")
        assert [y.tolist() for y in found[1:]] == [[1, 0] if s is bare else [0, 1, 0] for s in (reference, samples)]


def test_numbers_that_may_be_names_or_places_are_refused():
    same = labelled(["0", "2"], "0 1 2")
    assert [y.tolist() for y in common_labels(same, labelled(["2", "0"]))[1:]] == [[0, 1], [1, 0]]
    for names, labels in (("1 2 3", ["1", "2"]), ("1 2 3", ["0"]), ("cat dog", ["0", "7"]), ("0 2 10", ["1"])):
        named = labelled([names.split()[0]], names)
        for both in ((named, labelled(labels)), (labelled(labels), named)):
            with pytest.raises(UserError, match="it is not certain which of .* they mean: save class_names"):
                common_labels(*both)


def test_numbers_that_can_only_be_names_are_these():
    names, real, samples = common_labels(labelled(["1", "12"], " ".join(map(str, range(1, 13)))), labelled(["12", "1"]))
    assert names == ("1", "12")
    assert (real.tolist(), samples.tolist()) == ([0, 1], [1, 0])


def test_sets_without_a_common_class_are_refused():
    for names in ("one two", "0 1"):
        with pytest.raises(UserError, match=r"no class of set \(cat\) is in set"):
            common_labels(labelled(["cat"], "cat dog"), labelled(names.split(), names))


def test_a_run_on_numbered_folders_against_these(tmp_path):
    """Natural order of the folders, names in the samples' file: every image finds its own class."""
    values = {f"{i}/a.png": i for i in range(12)}
    numbers = np.arange(12)
    images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None], (12, 4, 6))
    for class_names in ({}, {"class_names": np.array([str(i) for i in numbers])}):
        file = read_images(saved(tmp_path / "samples.npz", images=images, labels=numbers, **class_names))
        names, real, samples = common_labels(read_images(folder(tmp_path / "test", values)), file)
        assert names == tuple(map(str, range(12)))
        np.testing.assert_array_equal(real, samples)
        np.testing.assert_array_equal(real, numbers)


def test_folders_whose_names_are_numbers_are_those_numbers(tmp_path):
    found = read_images(folder(tmp_path / "digits", {"10/a.png": 1, "02/a.png": 2}))
    names, real, samples = common_labels(found, labelled(["2", "10"]))
    assert names == ("2", "10")
    assert found.images[:, 0, 0, 0].tolist() == [2, 1]
    assert real.tolist() == samples.tolist() == [0, 1]
    twice = read_images(folder(tmp_path / "twice", {"2/a.png": 1, "02/a.png": 2}))
    assert twice.names == ("02", "2")


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
