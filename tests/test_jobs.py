"""Batches: flips, shifts, and which labels training may see."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.config import default_config
from scoressl_jax.jobs import build_objective, can_judge, make_batch_fn, positive_job, shifted


def batch_of(key=0, **augment):
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    arrays = {"x": images, "y": np.array([3, -1, -1, -1, 4, -1]), "y_hidden": np.array([3, 0, 1, 2, 4, 5])}
    indices = {"x": jnp.array([0, 4]), "x_u": jnp.array([1, 3, 5])}
    arrays = jax.tree.map(jnp.asarray, arrays)
    return images, make_batch_fn(**augment)(arrays, indices, jax.random.key(key))


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


def places(image, moved, most):
    """`[B, 3]`: row and column where each of `moved` `[B, H, W, C]` lies in the image with its edges reflected, and
    whether it is that of the flipped image; no other place fits."""
    height, width = image.shape[:2]
    around = ((most, most), (most, most), (0, 0))
    padded = [np.pad(one, around, mode="reflect") for one in (image, image[:, ::-1])]
    every = [(i, j, flip) for i in range(2 * most + 1) for j in range(2 * most + 1) for flip in (0, 1)]
    crops = np.stack([padded[flip][i : i + height, j : j + width] for i, j, flip in every])
    fits = [np.flatnonzero((crops == one).all((1, 2, 3))) for one in np.asarray(moved)]
    assert {len(found) for found in fits} == {1}
    return np.array(every)[np.concatenate(fits)]


@pytest.mark.parametrize(("shape", "most"), [((6, 9, 2), 2), ((5, 4, 1), 1), ((5, 8, 1), 3)])
def test_shifted_images_are_crops_of_the_reflected_image_and_every_offset_is_as_likely(shape, most):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    count = 100 * (2 * most + 1) ** 2
    move = jax.jit(shifted, static_argnums=2)
    moved = move(np.broadcast_to(image, (count, *shape)), jax.random.key(0), most)
    found = places(image, moved, most)
    assert not found[:, 2].any()
    seen, times = np.unique(found, axis=0, return_counts=True)
    assert len(seen) == (2 * most + 1) ** 2
    assert times.min() > 60, "four deviations below 100"
    assert times.max() < 140
    again = move(np.broadcast_to(image, (count, *shape)), jax.random.key(0), most)
    np.testing.assert_array_equal(again, moved)
    other = places(image, move(np.broadcast_to(image, (count, *shape)), jax.random.key(1), most), most)
    assert (other == found).all(1).mean() < 2 / len(seen)


def test_a_shift_of_none_is_none():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 1)).astype(np.float32)
    np.testing.assert_array_equal(shifted(x, jax.random.key(0), 0), x)


def test_labelled_and_unlabelled_images_are_shifted_each_by_itself_and_flipped_by_chance_of_its_own():
    image = np.random.default_rng(1).integers(0, 256, (6, 6, 1)).astype(np.uint8)
    arrays = {"x": image[None], "y": np.array([0]), "y_hidden": np.array([0])}
    indices = dict.fromkeys(("x", "x_u"), jnp.zeros(400, jnp.int32))
    make_batch = make_batch_fn(random_flip=True, random_shift=1)
    batch = jax.jit(make_batch)(jax.tree.map(jnp.asarray, arrays), indices, jax.random.key(0))
    found = {}
    for name in ("x", "x_u"):
        whole = np.rint(255 * np.asarray(batch[name])).astype(np.uint8)
        row, column, flipped = places(image, whole, 1).T
        assert 140 < flipped.sum() < 260
        for offset in (row, column):
            assert abs(np.corrcoef(flipped, offset)[0, 1]) < 0.2
        found[name] = np.stack([row, column], 1)
    assert (found["x"] == found["x_u"]).all(1).mean() < 0.25, "one in nine by chance"


def test_a_judge_needs_steps_and_all_labels():
    def judged(steps=5, labels=(0, 1)):
        config = default_config()
        config.evaluation.judge_steps = steps
        dataset = SimpleNamespace(y_train=np.array(labels), image_shape=(7, 5, 1))
        return can_judge(SimpleNamespace(config=config, dataset=dataset))

    assert judged()
    assert not judged(steps=0)
    assert not judged(labels=(0, -1))


def test_the_prior_that_the_objective_is_given():
    experiment = SimpleNamespace(config=default_config(), sde=None)
    assert build_objective(experiment, 0.25).prior == (0.75, 0.25)


def test_what_estimates_the_class_prior_is_trained_on_half_of_the_images():
    """Positives as often as unlabelled images, none of the half that is scored; the labels say which are labelled."""
    config = default_config()
    split = SimpleNamespace(labeled=np.array([1, 4, 6]), unlabeled=np.array([0, 2, 3, 5, 7, 8, 9]))
    dataset = SimpleNamespace(x_train=np.zeros((10, 4, 4, 1), np.uint8), y_train=np.arange(10))
    experiment = SimpleNamespace(config=config, dataset=dataset, split=split)
    for half, (positive, unlabeled) in enumerate(([(1, 6), (0, 3, 7, 9)], [(4,), (2, 5, 8)])):
        job = positive_job(experiment, half)
        labels = job.arrays["y"]
        assert labels.tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 0, 0]
        drawn = job.pools["x"]
        assert set(drawn) == {*positive, *unlabeled}
        assert sorted(drawn[labels[drawn] == 0]) == list(unlabeled)
        assert (labels[drawn] == 1).sum() == len(unlabeled)
        assert (job.name, job.steps) == (f"class_prior_{half}", config.data.prior_steps)
