"""Strong random changes of training images: float images `[B, H, W, C]` in [0, 1], grey or RGB, each by itself.

What becomes of an image follows from the key and its place in the batch. Lengths are shares of the image's height or
width, so that one recipe fits images of any size. Maps are `[B, 3, 3]`: where a point (x, y, 1) of the new image lies
in the old one, in pixels from the upper left corner, the middle of the first pixel being (.5, .5).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from scoressl_jax.data.augmentation import augmented

GREY = (0.299, 0.587, 0.114)  # of red, green, blue: Pillow's and ITU-R 601-2's


def weak(x, key, shift=0.1, flip=False):
    """Images moved by up to a share `shift` of their height, in whole pixels along either axis, what comes in being
    reflected, and mirrored by even chance with `flip`."""
    return augmented(x, key, flip=flip, shift=round(shift * x.shape[1]))


def strong(x, key, rotate=20.0, zoom=0.2, shear=0.2, shift=0.1, contrast=0.3, brightness=0.0, cutout=0.4, fill=0.0):
    """Images turned, zoomed, sheared and moved as by `affine`, then `jitter`, then a square of value `fill` cut out."""
    key_affine, key_jitter, key_cutout = jax.random.split(key, 3)
    x = affine(x, key_affine, rotate, zoom, shear, shift)
    return cut_out(jitter(x, key_jitter, contrast, brightness), key_cutout, cutout, fill)


def affine(x, key, rotate=0.0, zoom=0.0, shear=0.0, shift=0.0, fill=None):
    """Each image turned by up to `rotate` degrees, enlarged by a factor within 1 +- `zoom`, sheared along either axis
    by up to the share `shear` and moved along either by up to the share `shift`: one bilinear map about its centre.
    Beyond the edges their pixels are repeated, or lies the value `fill`."""
    b, height, width, _ = x.shape
    angle, factor, across, down, right, below = jax.random.uniform(key, (b, 6), minval=-1.0).T
    zero = jnp.zeros(b)
    linear = matrix(1 / (1 + zoom * factor), shear * across, zero, shear * down, 1 / (1 + zoom * factor), zero)
    moved = matrix(zero + 1, zero, shift * width * right, zero, zero + 1, shift * height * below)
    centred = about_centre(linear, height, width)
    return warp(x, moved @ rotation(rotate * angle, height, width) @ centred, fill)


def jitter(x, key, contrast=0.0, brightness=0.0):
    """Each image's distance from its mean times a factor within 1 +- `contrast`, then plus up to +- `brightness`."""
    by, plus = jax.random.uniform(key, (len(x), 2), minval=-1.0).T[:, :, None, None, None]
    mean = x.mean((1, 2, 3), keepdims=True)
    return jnp.clip(mean + (1 + contrast * by) * (x - mean) + brightness * plus, 0, 1)


def cut_out(x, key, size, fill=0.5, fixed=False):
    """Each image with a square of value `fill`, a number or one a channel, about a uniform place in it (DeVries and
    Taylor 2017): as wide as the share `size` of the image's height, or with `fixed` off uniformly up to that."""
    b, height, width, _ = x.shape
    down, across, share = jax.random.uniform(key, (b, 3)).T[..., None]
    half = size * height / 2 * (1 if fixed else share)
    rows = jnp.abs(jnp.arange(height) + 0.5 - down * height) < half
    columns = jnp.abs(jnp.arange(width) + 0.5 - across * width) < half
    return jnp.where((rows[:, :, None] & columns[:, None])[..., None], jnp.asarray(fill, x.dtype), x)


# Maps


def matrix(a, b, c, d, e, f):
    """The maps (x, y) -> (a x + b y + c, d x + e y + f), `[B, 3, 3]`, of numbers `[B]`."""
    last = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0]), (*a.shape, 3))
    return jnp.stack([jnp.stack([a, b, c], -1), jnp.stack([d, e, f], -1), last], -2)


def about_centre(maps, height, width):
    """Maps whose origin is the corner, made to have it in the centre of the image."""
    there = jnp.array([[1.0, 0.0, width / 2], [0.0, 1.0, height / 2], [0.0, 0.0, 1.0]])
    return there @ maps @ jnp.array([[1.0, 0.0, -width / 2], [0.0, 1.0, -height / 2], [0.0, 0.0, 1.0]])


def rotation(degrees, height, width):
    """Maps that turn images about their centre, counterclockwise."""
    cos, sin, zero = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees)), jnp.zeros_like(degrees)
    return about_centre(matrix(cos, -sin, zero, sin, cos, zero), height, width)


def warp(x, maps, fill=None):
    """Images under maps `[B, 3, 3]`, bilinear; the edges' pixels repeated beyond them, or the value `fill` there."""
    _, height, width, _ = x.shape
    across, down = jnp.meshgrid(jnp.arange(width) + 0.5, jnp.arange(height) + 0.5)
    points = jnp.stack([across, down, jnp.ones_like(across)])
    across, down = jnp.moveaxis(jnp.einsum("bij,jhw->bihw", maps[:, :2], points), 1, 0)
    channel = lambda image, y, x: map_coordinates(image, [y - 0.5, x - 0.5], order=1, mode="nearest")  # noqa: E731
    warped = jax.vmap(jax.vmap(channel, (2, None, None), 2))(x, down, across)
    if fill is None:
        return warped
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    return jnp.where(inside[..., None], warped, jnp.asarray(fill, x.dtype))


# RandAugment


def rand_augment(x, key, count=2, fill=0.0):
    """RandAugment (Cubuk et al. 2020) as semi-supervised learning uses it: `count` of OPERATIONS an image, drawn with
    replacement, each at a uniform magnitude. Those of colour come first, in their order; the maps of the others are
    then made one, so that an image is interpolated once; `fill` lies beyond its edges."""
    key_kind, key_magnitude = jax.random.split(key)
    kinds = jax.random.randint(key_kind, (len(x), count), 0, len(OPERATIONS))
    low, high = jnp.array([[operation.low, operation.high] for operation in OPERATIONS.values()]).T
    magnitudes = low[kinds] + (high - low)[kinds] * jax.random.uniform(key_magnitude, kinds.shape)
    # On a CPU one image after the other, so that no operation is computed but those drawn: 3 to 10 times as fast.
    one_by_one, at_once = lambda drawn: jax.lax.map(operated, drawn), jax.vmap(operated)
    x, maps = jax.lax.platform_dependent((x, kinds, magnitudes), cpu=one_by_one, default=at_once)
    return warp(x, maps, fill)


def operated(drawn):
    """(image `[H, W, C]`, kinds `[count]`, magnitudes `[count]`) -> the image after the operations of colour, and the
    one map `[3, 3]` that is still to be made."""
    image, kinds, magnitudes = drawn
    branches = [_branch(operation) for operation in OPERATIONS.values()]
    step = lambda state, now: (jax.lax.switch(now[0], branches, *state, now[1]), None)  # noqa: E731
    state, _ = jax.lax.scan(step, (image[None], jnp.eye(3)[None]), (kinds, magnitudes[:, None]))
    return jax.tree.map(lambda a: a[0], state)


def _branch(operation):
    """(image, map, magnitude) -> image and map after the operation, each with an axis for a batch of one."""
    if operation.is_map:
        return lambda x, maps, magnitude: (x, maps @ operation.change(magnitude, *x.shape[1:3]))
    return lambda x, maps, magnitude: (operation.change(x, magnitude), maps)


def identity(x, magnitude):
    return x


def auto_contrast(x, magnitude):
    """Each channel stretched so that its least value is 0 and its greatest 1."""
    low, high = x.min((1, 2), keepdims=True), x.max((1, 2), keepdims=True)
    return jnp.where(high > low, (x - low) / jnp.where(high > low, high - low, 1), x)


def brightness(x, magnitude):
    return blended(jnp.zeros_like(x), x, magnitude)


def color(x, magnitude):
    """Between the image in grey at 0 and itself at 1."""
    return blended(grey(x), x, magnitude)


def contrast(x, magnitude):
    """Between an even grey, the mean of the image in grey, and itself."""
    return blended(grey(x.mean((1, 2), keepdims=True)), x, magnitude)


def sharpness(x, magnitude):
    """Between the image smoothed over 3 x 3 pixels, but for its outermost ones, and itself."""
    rows = x[:, :-2] + x[:, 1:-1] + x[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = (around + 4 * x[:, 1:-1, 1:-1]) / 13
    return blended(x.at[:, 1:-1, 1:-1].set(smooth), x, magnitude)


def equalize(x, magnitude):
    """Each channel's 256 levels made about equally frequent, by Pillow's whole-number rule."""
    b, height, width, c = x.shape
    levels = jnp.rint(255 * x).astype(jnp.int32)
    cell = levels + 256 * (jnp.arange(b)[:, None, None, None] * c + jnp.arange(c))
    counts = jnp.zeros(b * c * 256, jnp.int32).at[cell].add(1).reshape(b * c, 256)
    below = (jnp.cumsum(counts, -1) - counts).ravel()[cell]
    brightest = counts[jnp.arange(b * c), levels.max((1, 2)).ravel()].reshape(b, 1, 1, c)
    step = jnp.floor((height * width - brightest) / 255)  # floats: whole numbers divide many times slower
    equal = jnp.floor((jnp.floor(step / 2) + below) / jnp.maximum(step, 1))
    return jnp.where(step > 0, jnp.minimum(equal, 255) / 255, x)


def posterize(x, magnitude):
    """The highest floor(magnitude) bits of 8."""
    step = 2.0 ** (8 - jnp.floor(per_image(magnitude)))
    return jnp.floor(jnp.rint(255 * x) / step) * step / 255


def solarize(x, magnitude):
    """Inverted where a value is at least `magnitude` of 255."""
    return jnp.where(jnp.rint(255 * x) < per_image(magnitude), x, 1 - x)


def blended(other, x, share):
    share = per_image(share)
    return jnp.clip((1 - share) * other + share * x, 0, 1)


def grey(x):
    """`[B, H, W, 1]`."""
    return x if x.shape[-1] == 1 else sum(w * x[..., c, None] for c, w in enumerate(GREY))


def per_image(magnitude):
    return jnp.reshape(magnitude, (-1, 1, 1, 1))


def sheared(x_by_y=0, y_by_x=0):
    """Maps from the corner, as Pillow's: `magnitude` times the given."""
    return lambda m, height, width: matrix(m * 0 + 1, x_by_y * m, m * 0, y_by_x * m, m * 0 + 1, m * 0)


def translated(across=0, down=0):
    """Maps that move by the share `magnitude` of the width or height."""
    return lambda m, height, width: matrix(m * 0 + 1, m * 0, across * width * m, m * 0, m * 0 + 1, down * height * m)


class Operation(NamedTuple):
    """`change` is (x, magnitude [B]) -> x, or with is_map (magnitude, height, width) -> maps."""

    change: object
    low: float
    high: float
    is_map: bool = False


OPERATIONS = {
    "AutoContrast": Operation(auto_contrast, 0.0, 1.0),
    "Brightness": Operation(brightness, 0.05, 0.95),
    "Color": Operation(color, 0.05, 0.95),
    "Contrast": Operation(contrast, 0.05, 0.95),
    "Equalize": Operation(equalize, 0.0, 1.0),
    "Identity": Operation(identity, 0.0, 1.0),
    "Posterize": Operation(posterize, 4.0, 8.0),
    "Rotate": Operation(rotation, -30.0, 30.0, is_map=True),
    "Sharpness": Operation(sharpness, 0.05, 0.95),
    "ShearX": Operation(sheared(x_by_y=1), -0.3, 0.3, is_map=True),
    "ShearY": Operation(sheared(y_by_x=1), -0.3, 0.3, is_map=True),
    "Solarize": Operation(solarize, 0.0, 256.0),
    "TranslateX": Operation(translated(across=1), -0.3, 0.3, is_map=True),
    "TranslateY": Operation(translated(down=1), -0.3, 0.3, is_map=True),
}
