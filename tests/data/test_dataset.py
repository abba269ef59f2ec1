import numpy as np
import pytest

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError


def arrays(**changes):
    """Six training and three test images of three classes, one training image unlabelled."""
    good = {
        "x_train": np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3),
        "y_train": np.array([0, 1, 2, -1, 1, 0]),
        "x_test": np.ones((3, 4, 5, 3), np.uint8),
        "y_test": np.array([2, 1, 0]),
    }
    return good | changes


def test_keeps_the_arrays_and_names_the_classes_by_number():
    dataset = make_dataset("some", **arrays())
    np.testing.assert_array_equal(dataset.x_train, arrays()["x_train"])
    np.testing.assert_array_equal(dataset.y_train, [0, 1, 2, -1, 1, 0])
    assert (dataset.y_train.dtype, dataset.y_test.dtype) == (np.int32, np.int32)
    assert (dataset.name, dataset.num_classes, dataset.image_shape) == ("some", 3, (4, 5, 3))
    assert dataset.class_names == ("0", "1", "2")


def test_adds_the_channel_of_grey_images():
    x_train = arrays()["x_train"][..., 0]
    dataset = make_dataset("grey", **arrays(x_train=x_train, x_test=np.zeros((3, 4, 5, 1), np.uint8)))
    np.testing.assert_array_equal(dataset.x_train, x_train[..., None])


def test_class_names_set_the_number_of_classes():
    assert make_dataset("named", **arrays(), class_names=["a", "b", "c"]).class_names == ("a", "b", "c")


@pytest.mark.parametrize(("changes", "words"), [
    ({"x_train": np.zeros((6, 4, 5, 3), np.float32)}, "x_train holds float32"),
    ({"x_test": np.zeros((3, 60), np.uint8)}, r"x_test has shape \[3, 60\]"),
    ({"x_train": np.zeros((6, 3, 32, 32), np.uint8)}, r"\[6, 3, 32, 32\].*channels"),
    ({"x_test": np.zeros((3, 5, 4, 3), np.uint8)}, "4x5x3 but test images 5x4x3"),
    ({"x_train": np.zeros((0, 4, 5, 3), np.uint8), "y_train": np.zeros(0, int)}, "x_train is empty"),
    ({"x_test": np.zeros((0, 4, 5, 3), np.uint8), "y_test": np.zeros(0, int)}, "x_test is empty"),
    ({"y_train": np.array([0, 1, 2])}, r"y_train has shape \[3\] for 6 images"),
    ({"y_test": np.array([[0], [1], [2]])}, r"y_test has shape \[3, 1\]"),
    ({"y_train": np.array([0.0, 1, 2, -1, 1, 0])}, "y_train holds float64"),
    ({"y_train": np.array([0, 1, 2, -2, 1, 0])}, "y_train holds -2"),
    ({"y_test": np.array([0, 1, -1])}, "y_test holds -1.*unlabelled test images"),
    ({"y_train": np.array([0, 1, 2, 2**40, 1, 0])}, "too large"),
    ({"y_train": np.array([0, 1, 3, 3, 1, 0]), "y_test": np.array([0, 1, 3])}, "no image has label 2 of the 4"),
    ({"class_names": ["cat", "dog"]}, "label 2 is out of range"),
    ({"class_names": ["cat", "dog", "cow", "bee"]}, r"label 3 \(bee\) of the 4"),
])
def test_bad_input_is_one_clear_line(changes, words):
    with pytest.raises(UserError, match=words) as caught:
        make_dataset("mine", **arrays(**changes))
    assert str(caught.value).startswith("mine: ")
    assert "\n" not in str(caught.value)
