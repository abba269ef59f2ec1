"""scikit-learn's 1,797 handwritten digits: real data that is installed with the package."""

import numpy as np

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError


def load_digits(test_size=360, seed=0):
    """The digits as a Dataset: 8x8x1 uint8, 10 classes; by default 1,437 to train and 360 to test.

    The test images are drawn in proportion to the classes; `seed` fixes them, apart from any label split.
    Raises UserError for a test_size that leaves a class without test or training images.
    """
    # Here, not above: the import takes a second, and whoever only reads a config does without.
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    images, labels = datasets.load_digits(return_X_y=True)
    if not 10 <= test_size <= len(labels) - 10:
        raise UserError(f"digits: test_size={test_size} must be in 10..{len(labels) - 10}")
    # 0..16 at the source.
    images = np.round(images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=test_size, stratify=labels, random_state=seed
    )
    return make_dataset("digits", x_train, y_train, x_test, y_test)
