"""Batches: flips, and which labels training may see."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.config import default_config
from scoressl_jax.jobs import can_judge, make_batch_fn


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


def test_a_judge_needs_steps_all_labels_and_a_size_that_it_can_halve_twice():
    def judged(steps=5, labels=(0, 1), size=8):
        config = default_config()
        config.evaluation.judge_steps = steps
        dataset = SimpleNamespace(y_train=np.array(labels), image_shape=(8, size, 1))
        return can_judge(SimpleNamespace(config=config, dataset=dataset))

    assert judged()
    assert not judged(steps=0)
    assert not judged(labels=(0, -1))
    assert not judged(size=10)
