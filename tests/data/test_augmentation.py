"""Random changes of images: crops of the reflected image, linear maps as scipy makes them, each image by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from scoressl_jax.data.augmentation import augmented, shifted, warped
from scoressl_jax.experiment.jobs import make_batch_fn

IMAGES = np.random.default_rng(0).uniform(size=(40, 7, 6, 2)).astype(np.float32)


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
    make_batch = make_batch_fn(flip=True, shift=1)
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


def test_warped_images_are_what_scipy_makes_of_the_same_maps():
    key, most = jax.random.key(3), 0.3
    maps = np.eye(2) + np.asarray(jax.random.uniform(key, (40, 2, 2), minval=-most, maxval=most))
    centre = np.array([3.0, 2.5])
    found = jax.jit(warped, static_argnums=2)(IMAGES, key, most)
    for image, linear, got in zip(IMAGES, maps, found, strict=True):
        for c in range(2):
            offset = centre - linear @ centre
            expected = affine_transform(image[..., c], linear, offset, order=1, mode="nearest")
            np.testing.assert_allclose(got[..., c], expected, atol=2e-5)


def test_maps_are_bounded_differ_between_images_and_keep_the_centre():
    ramp = np.broadcast_to(np.arange(9.0, dtype=np.float32)[:, None, None], (500, 9, 9, 1))
    found = np.asarray(warped(ramp, jax.random.key(0), 0.2))[..., 0]
    np.testing.assert_allclose(found[:, 4, 4], 4.0, atol=1e-5)
    down, across = found[:, 5, 4] - found[:, 4, 4], found[:, 4, 5] - found[:, 4, 4]
    for entries, middle in ((down, 1.0), (across, 0.0)):
        assert np.abs(entries - middle).max() < 0.2 + 1e-5
        assert (entries - middle).std() == pytest.approx(0.2 / np.sqrt(3), rel=0.1)
        assert (entries - middle).mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("on", [dict(flip=True), dict(shift=1), dict(affine=0.2)])
def test_each_change_is_off_until_asked_for_and_follows_from_the_key(on):
    key = jax.random.key(0)
    np.testing.assert_array_equal(augmented(IMAGES, key), IMAGES)
    first = augmented(IMAGES, key, **on)
    assert (first != IMAGES).any()
    np.testing.assert_array_equal(augmented(IMAGES, key, **on), first)
    assert (augmented(IMAGES, jax.random.key(1), **on) != first).any()
