"""Strong changes of images: each operation of RandAugment as Pillow makes it, maps as NumPy and SciPy make them, sizes
and chances as they are asked for, each image by itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import affine_transform

from scoressl_jax.data import randaugment
from scoressl_jax.data.augmentation import shifted
from scoressl_jax.data.randaugment import (
    OPERATIONS,
    Operation,
    affine,
    cut_out,
    jitter,
    rand_augment,
    strong,
    warp,
    weak,
)

KEY = jax.random.key(5)
SETTINGS = {
    "weak": partial(weak, shift=0.15, flip=True),
    "strong": partial(strong, brightness=0.2),
    "affine": partial(affine, rotate=20, zoom=0.2, shear=0.2, shift=0.1, fill=0.5),
    "jitter": partial(jitter, contrast=0.3, brightness=0.1),
    "cut_out": partial(cut_out, size=0.5),
    "rand_augment": rand_augment,
}


def pictures(channels, count=6, height=14, width=17):
    """uint8 images of some structure: smooth, noisy, narrow in range, with every level alike."""
    rng = np.random.default_rng(channels)
    ramp = np.linspace(0, 255, height)[:, None, None] * np.linspace(0.2, 1, width)[:, None]
    noise = rng.integers(0, 256, (count, height, width, channels))
    found = np.where(np.arange(count)[:, None, None, None] % 2, noise, 0.6 * ramp + 0.4 * noise)
    found[1] = 90 + found[1] * 0.2
    found[2] = np.where(noise[2] > 200, found[2], 0)  # mostly black, like a drawn digit
    found[3, ..., 0] = 77
    return found.astype(np.uint8)


def as_floats(images):
    return jnp.asarray(images / 255.0, jnp.float32)


def operate(name, x, magnitude):
    operation = OPERATIONS[name]
    magnitude = jnp.full(len(x), magnitude)
    if operation.is_map:
        return jax.jit(lambda x, m: warp(x, operation.change(m, *x.shape[1:3]), 0.0))(x, magnitude)
    return jax.jit(operation.change)(x, magnitude)


def mapped(image, *entries):
    return image.transform(image.size, Image.Transform.AFFINE, entries, Image.Resampling.BILINEAR)


# Pillow's operation, and by how many of 255 levels its whole numbers may be off.
PILLOW = {
    "AutoContrast": (lambda image, m: ImageOps.autocontrast(image), 1),
    "Brightness": (lambda image, m: ImageEnhance.Brightness(image).enhance(m), 1),
    "Color": (lambda image, m: ImageEnhance.Color(image).enhance(m), 2),
    "Contrast": (lambda image, m: ImageEnhance.Contrast(image).enhance(m), 2),
    "Equalize": (lambda image, m: ImageOps.equalize(image), 0),
    "Identity": (lambda image, m: image, 0),
    "Posterize": (lambda image, m: ImageOps.posterize(image, int(m)), 0),
    "Rotate": (lambda image, m: image.rotate(m, Image.Resampling.BILINEAR), 1),
    "Sharpness": (lambda image, m: ImageEnhance.Sharpness(image).enhance(m), 2),
    "ShearX": (lambda image, m: mapped(image, 1, m, 0, 0, 1, 0), 1),
    "ShearY": (lambda image, m: mapped(image, 1, 0, 0, m, 1, 0), 1),
    "Solarize": (lambda image, m: ImageOps.solarize(image, m), 0),
    "TranslateX": (lambda image, m: mapped(image, 1, 0, m * image.width, 0, 1, 0), 1),
    "TranslateY": (lambda image, m: mapped(image, 1, 0, 0, 0, 1, m * image.height), 1),
}
RANGES = {
    **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), (0.05, 0.95)), "Posterize": (4, 8),
    "Rotate": (-30, 30), "Solarize": (0, 256), **dict.fromkeys(("ShearX", "ShearY"), (-0.3, 0.3)),
    **dict.fromkeys(("TranslateX", "TranslateY"), (-0.3, 0.3)),
}  # fmt: skip
SAME = {"Brightness": 1.0, "Color": 1.0, "Contrast": 1.0, "Sharpness": 1.0, "Posterize": 8.0, "Rotate": 0.0,
        "ShearX": 0.0, "ShearY": 0.0, "Solarize": 256.0, "TranslateX": 0.0, "TranslateY": 0.0,
        "Identity": 0.0}  # fmt: skip


def test_the_fourteen_operations_and_their_ranges():
    assert set(OPERATIONS) == set(PILLOW)
    for name, (low, high) in RANGES.items():
        assert (OPERATIONS[name].low, OPERATIONS[name].high) == (low, high)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PILLOW)
def test_an_operation_is_pillows(name, channels):
    images, (pillow, levels) = pictures(channels, height=32, width=35), PILLOW[name]
    low, high = RANGES.get(name, (0, 1))
    most = 0
    for magnitude in np.linspace(low, high, 5)[1:-1] + 0.013:
        found = 255 * np.asarray(operate(name, as_floats(images), magnitude))
        most = max(most, np.abs(found - images).max())
        for image, got in zip(images, found, strict=True):
            expected = np.asarray(pillow(Image.fromarray(image.squeeze()), magnitude)).reshape(image.shape)
            np.testing.assert_allclose(got, expected, atol=levels + 0.01)
    assert most > 6 or name == "Identity" or (name, channels) == ("Color", 1), "else little is compared"


@pytest.mark.parametrize("name", SAME)
def test_a_magnitude_that_changes_nothing(name):
    x = as_floats(pictures(3))
    np.testing.assert_allclose(operate(name, x, SAME[name]), x, atol=1e-5)


def test_grey_images_have_no_color_to_lose():
    x = as_floats(pictures(1))
    np.testing.assert_allclose(operate("Color", x, 0.05), x, atol=1e-6)


def test_a_quarter_turn_and_whole_shifts_are_numpys():
    x = as_floats(pictures(3, height=9, width=9))
    np.testing.assert_allclose(operate("Rotate", x, 90.0), np.rot90(x, axes=(1, 2)), atol=1e-5)
    moved = np.asarray(operate("TranslateX", x, 2 / 9))
    np.testing.assert_allclose(moved[:, :, :-2], x[:, :, 2:], atol=1e-5)
    assert not moved[:, :, -2:].any()
    moved = np.asarray(operate("TranslateY", x, -3 / 9))
    np.testing.assert_allclose(moved[:, 3:], x[:, :-3], atol=1e-5)
    assert not moved[:, :3].any()


def test_maps_are_scipys():
    x = as_floats(pictures(1))[..., 0]
    maps = np.random.default_rng(0).normal(size=(6, 3, 3)) * 0.2 + np.eye(3)
    maps[:, :2, 2], maps[:, 2] = 3 * maps[:, :2, 2], (0, 0, 1)
    middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # of the first pixel
    swap = np.eye(3)[[1, 0, 2]]  # SciPy counts rows first
    found = jax.jit(warp)(x[..., None], jnp.asarray(maps, jnp.float32))[..., 0]
    for image, one, got in zip(x, maps, found, strict=True):
        expected = affine_transform(image, swap @ np.linalg.inv(middle) @ one @ middle @ swap, order=1, mode="nearest")
        np.testing.assert_allclose(got, expected, atol=2e-5)


# RandAugment as a whole


def test_kinds_and_magnitudes_are_drawn_uniformly_and_with_replacement(monkeypatch):
    """Operations that write down who they are: digit `kind + share` to the base 100, the last one last."""
    kinds = {
        str(i): Operation(lambda x, m: 100 * jnp.floor(x) + m.reshape(-1, 1, 1, 1), i, i + 0.999) for i in range(14)
    }
    monkeypatch.setattr(randaugment, "OPERATIONS", kinds)
    found = np.asarray(jax.jit(partial(rand_augment, count=2))(jnp.zeros((7000, 1, 1, 1)), KEY)).ravel()
    last, share = np.floor(found % 100), found % 1
    first = found // 100
    for drawn in (first, last):
        seen, times = np.unique(drawn, return_counts=True)
        np.testing.assert_array_equal(seen, np.arange(14))
        assert times.min() > 400, "four and a half deviations below 500"
        assert times.max() < 600
    assert (first == last).mean() == pytest.approx(1 / 14, abs=0.015)
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.05
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.std() == pytest.approx(1 / np.sqrt(12), abs=0.02)


def test_colours_come_first_maps_are_one_and_the_fill_is_as_asked_for(monkeypatch):
    fixed = {
        "Solarize": OPERATIONS["Solarize"]._replace(low=0, high=0),
        "TranslateX": OPERATIONS["TranslateX"]._replace(low=0.25, high=0.25),
        "Rotate": OPERATIONS["Rotate"]._replace(low=90, high=90),
    }
    monkeypatch.setattr(randaugment, "OPERATIONS", fixed)
    image = np.asarray(as_floats(pictures(1, height=8, width=8)))[0, ..., 0]
    inverse = lambda a: 1 - a  # noqa: E731
    turn = np.rot90
    move = lambda a: np.pad(a, ((0, 0), (0, 2)), constant_values=0.3)[:, 2:]  # noqa: E731
    expected = [
        image, turn(turn(image)), move(move(image)), inverse(turn(image)), move(inverse(image)),
        move(turn(image)), turn(move(image)),
    ]  # fmt: skip
    found = np.asarray(jax.jit(partial(rand_augment, fill=0.3))(jnp.tile(image[None, ..., None], (90, 1, 1, 1)), KEY))
    off = np.array([[np.abs(got - one).max() for one in expected] for got in found[..., 0]])
    assert off.min(1).max() < 1e-5, "each is one of the seven"
    assert set(off.argmin(1)) == set(range(7))


def test_one_image_after_the_other_is_all_at_once():
    x = as_floats(pictures(3))
    kinds = jnp.asarray(np.random.default_rng(0).permutation(14)[:12].reshape(6, 2))
    magnitudes = jnp.full((6, 2), 0.3)
    ways = [
        jax.lax.map(randaugment.operated, (x, kinds, magnitudes)),
        jax.vmap(randaugment.operated)((x, kinds, magnitudes)),
    ]
    for one, other in zip(*ways, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# The small recipe


def maps_of(change, count=400):
    """The linear parts `[count, 2, 2]` and the shifts `[count, 2]` from the centre, x first, in pixels, of the maps
    under `change`, read off images of their own coordinates."""
    size = 41
    across, down = np.meshgrid(np.arange(size) - 20.0, np.arange(size) - 20.0)
    x = jnp.broadcast_to(jnp.asarray(np.stack([across, down], -1), jnp.float32), (count, size, size, 2))
    found = np.asarray(jax.jit(change)(x, KEY))
    centre = found[:, 20, 20]
    return np.stack([found[:, 20, 21] - centre, found[:, 21, 20] - centre], -1), centre


def assert_uniform(values, most):
    assert np.abs(values).max() <= most * (1 + 1e-4)
    assert np.abs(values).max() > 0.95 * most
    assert values.std() == pytest.approx(most / np.sqrt(3), rel=0.1)
    assert values.mean() == pytest.approx(0, abs=0.15 * most)


def test_rotations_zooms_shears_and_shifts_are_as_large_as_asked_for():
    linear, centre = maps_of(partial(affine, rotate=20))
    np.testing.assert_allclose(centre, 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(linear), 1, atol=1e-3)
    np.testing.assert_allclose(linear @ linear.transpose(0, 2, 1), np.broadcast_to(np.eye(2), linear.shape), atol=1e-3)
    assert_uniform(np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])), 20)

    linear, centre = maps_of(partial(affine, zoom=0.2))
    np.testing.assert_allclose(centre, 0, atol=1e-4)
    np.testing.assert_allclose(linear, linear[:, :1, :1] * np.eye(2), atol=1e-3)
    assert_uniform(1 / linear[:, 0, 0] - 1, 0.2)

    linear, centre = maps_of(partial(affine, shear=0.15))
    np.testing.assert_allclose(centre, 0, atol=1e-4)
    np.testing.assert_allclose(linear[:, [0, 1], [0, 1]], 1, atol=1e-3)
    assert_uniform(linear[:, 0, 1], 0.15)
    assert_uniform(linear[:, 1, 0], 0.15)
    assert abs(np.corrcoef(linear[:, 0, 1], linear[:, 1, 0])[0, 1]) < 0.15

    linear, centre = maps_of(partial(affine, shift=0.1))
    np.testing.assert_allclose(linear, np.broadcast_to(np.eye(2), linear.shape), atol=1e-3)
    assert_uniform(centre[:, 0], 4.1)
    assert_uniform(centre[:, 1], 4.1)
    assert abs(np.corrcoef(centre.T)[0, 1]) < 0.15


def test_what_lies_beyond_the_edges():
    x = jnp.full((50, 8, 8, 1), 0.75)
    np.testing.assert_allclose(affine(x, KEY, rotate=20, shift=0.3), x, atol=1e-6)
    filled = np.asarray(affine(x, KEY, shift=0.3, fill=0.25))
    assert set(np.unique(filled.round(5))) == {0.25, 0.75}
    colours = np.asarray(cut_out(jnp.ones((9, 8, 8, 3)), KEY, 0.9, fill=(0.1, 0.2, 0.3)))
    np.testing.assert_allclose(colours[(colours < 1).all(-1)][0], (0.1, 0.2, 0.3), rtol=1e-6)


def test_contrast_and_brightness_are_as_large_as_asked_for():
    x = jnp.asarray(np.random.default_rng(0).uniform(0.4, 0.6, (400, 6, 6, 3)), jnp.float32)
    mean, std = x.mean((1, 2, 3)), x.std((1, 2, 3))
    found = np.asarray(jitter(x, KEY, contrast=0.3))
    np.testing.assert_allclose(found.mean((1, 2, 3)), mean, atol=1e-5)
    assert_uniform(found.std((1, 2, 3)) / std - 1, 0.3)
    found = np.asarray(jitter(x, KEY, brightness=0.2))
    np.testing.assert_allclose(found.std((1, 2, 3)), std, atol=1e-5)
    assert_uniform(found.mean((1, 2, 3)) - mean, 0.2)
    assert jitter(x, KEY, contrast=0.0, brightness=0.9).max() == 1


def test_squares_are_cut_out_of_every_place_and_of_every_size():
    x = jnp.ones((4000, 20, 30, 1))
    for fixed, most in ((True, 8), (False, 8)):
        gone = np.asarray(cut_out(x, KEY, 0.4, fill=0.0, fixed=fixed))[..., 0] == 0
        rows, columns = gone.any(2), gone.any(1)
        np.testing.assert_array_equal(gone, rows[:, :, None] & columns[:, None], "a rectangle")
        assert (np.abs(np.diff(rows.astype(int), axis=1)).sum(1) <= 2).all(), "in one piece"
        high, wide = rows.sum(1), columns.sum(1)
        inside = ~(gone[:, 0].any(1) | gone[:, -1].any(1) | gone[:, :, 0].any(1) | gone[:, :, -1].any(1))
        assert (np.abs(high - wide)[inside] <= 1).all(), "a square where it does not reach over the edge"
        assert max(high.max(), wide.max()) == most
        places = ((20 - high) * (30 - wide))[inside]  # of this size inside
        assert np.average(high[inside], weights=1 / places) == pytest.approx(most if fixed else most / 2, rel=0.05)
        middle = columns[:, 10:20].mean(0)
        np.testing.assert_allclose(middle, middle.mean(), rtol=0.15)


def test_weak_changes_are_shifts_in_whole_pixels_of_a_share():
    x = as_floats(pictures(1, count=6, height=20, width=20))
    found = weak(x, KEY, shift=0.1)
    np.testing.assert_array_equal(found, shifted(x, jax.random.split(KEY, 3)[1], 2))
    assert (weak(x, KEY, shift=0.1, flip=True) != found).any()


def test_the_strong_recipe_is_its_parts():
    x = as_floats(pictures(3))
    keys = jax.random.split(KEY, 3)
    change = jax.jit(strong)
    parts = affine(x, keys[0], rotate=15, zoom=0.1, shear=0.3, shift=0.2)
    parts = cut_out(jitter(parts, keys[1], 0.2, 0.1), keys[2], 0.5, 0.7)
    found = strong(
        x, KEY, rotate=15, zoom=0.1, shear=0.3, shift=0.2, contrast=0.2, brightness=0.1, cutout=0.5, fill=0.7
    )
    np.testing.assert_allclose(found, parts, atol=1e-6)
    off = dict.fromkeys(("rotate", "zoom", "shear", "shift", "contrast", "brightness", "cutout"), 0.0)
    np.testing.assert_allclose(change(x, KEY, **off), x, atol=1e-5)
    for name, size in dict(rotate=20, zoom=0.2, shear=0.2, shift=0.1, contrast=0.3, brightness=0.1, cutout=0.4).items():
        assert np.abs(change(x, KEY, **{**off, name: size}) - x).max() > 0.02, name


@pytest.mark.parametrize("name", SETTINGS)
def test_each_image_is_changed_by_itself_follows_from_the_key_and_stays_in_range(name):
    change = jax.jit(SETTINGS[name])
    image = as_floats(pictures(3))[0]
    x = jnp.tile(image, (40, 1, 1, 1))
    found = np.asarray(change(x, KEY))
    assert found.shape == x.shape
    assert found.dtype == np.float32
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert len(np.unique(found.reshape(40, -1).round(4), axis=0)) > 25, "no two alike but by chance"
    np.testing.assert_array_equal(change(x, KEY), found)
    assert (np.asarray(change(x, jax.random.key(6))) != found).any()
    np.testing.assert_allclose(change(x.at[1:].set(0.5), KEY)[0], found[0], atol=1e-6, err_msg="company")
    np.testing.assert_allclose(change(x[:7], KEY), found[:7], atol=1e-6, err_msg="a smaller batch")
