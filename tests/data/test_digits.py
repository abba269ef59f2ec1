import numpy as np
import pytest
from sklearn import datasets

from scoressl_jax.data.digits import load_digits
from scoressl_jax.errors import UserError


def test_sizes_and_range():
    dataset = load_digits()
    assert dataset.x_train.shape == (1437, 8, 8, 1)
    assert dataset.x_test.shape == (360, 8, 8, 1)
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 255)
    assert dataset.num_classes == 10


def test_test_set_is_stratified():
    assert set(np.bincount(load_digits().y_test)) <= {35, 36, 37}


def test_holds_every_digit_once_with_its_label():
    dataset = load_digits()
    x = np.concatenate([dataset.x_train, dataset.x_test]).reshape(-1, 64)
    y = np.concatenate([dataset.y_train, dataset.y_test])
    # Undo the scaling to 0..255 and compare as unordered collections.
    ours = np.column_stack([np.round(x / 255 * 16), y])
    theirs = np.column_stack(datasets.load_digits(return_X_y=True))
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_seed_fixes_the_test_set():
    np.testing.assert_array_equal(load_digits().x_test, load_digits(seed=0).x_test)
    assert not np.array_equal(load_digits().x_test, load_digits(seed=1).x_test)


@pytest.mark.parametrize("test_size", [0, 9, 1788, -5])
def test_impossible_test_size(test_size):
    with pytest.raises(UserError, match=f"test_size={test_size} must be in 10..1787$"):
        load_digits(test_size=test_size)
