"""Batches: flips, and which labels training may see."""

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.jobs import make_batch_fn


def batch_of(random_flip=False, key=0):
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    arrays = {"x": images, "y": np.array([3, -1, -1, -1, 4, -1]), "y_hidden": np.array([3, 0, 1, 2, 4, 5])}
    indices = {"x": jnp.array([0, 4]), "x_u": jnp.array([1, 3, 5])}
    arrays = jax.tree.map(jnp.asarray, arrays)
    return images, make_batch_fn(random_flip)(arrays, indices, jax.random.key(key))


def test_batches_hold_the_images_in_unit_range_and_hidden_labels_for_unlabelled_ones_alone():
    images, batch = batch_of()
    np.testing.assert_allclose(batch["x"], images[[0, 4]] / 255.0, rtol=1e-6)
    np.testing.assert_allclose(batch["x_u"], images[[1, 3, 5]] / 255.0, rtol=1e-6)
    assert batch["y"].tolist() == [3, 4]
    assert batch["y_u"].tolist() == [0, 2, 5]


def test_flips_are_drawn_image_by_image():
    seen = set()
    for key in range(8):
        images, batch = batch_of(random_flip=True, key=key)
        for image, got in zip(images[[0, 4]], batch["x"], strict=True):
            flipped = np.allclose(got, image[:, ::-1] / 255.0)
            assert flipped or np.allclose(got, image / 255.0)
            seen.add(flipped)
    assert seen == {True, False}
