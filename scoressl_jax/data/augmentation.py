"""Random changes of training images that keep their class: float images `[B, H, W, C]`, each changed by itself."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def augmented(x, key, flip=False, shift=0, affine=0.0):
    """Images with the changes that are on: mirrored by even chance, warped, shifted."""
    key_flip, key_shift, key_affine = jax.random.split(key, 3)
    if flip:
        x = jnp.where(jax.random.bernoulli(key_flip, 0.5, (x.shape[0], 1, 1, 1)), x[:, :, ::-1], x)
    if affine:
        x = warped(x, key_affine, affine)
    return shifted(x, key_shift, shift) if shift else x


def shifted(x, key, most):
    """Each image moved by up to `most` whole pixels along either axis; what comes in at the edges is reflected."""
    b, *shape = x.shape
    padded = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    starts = jax.random.randint(key, (b, 2), 0, 2 * most + 1)
    return jax.vmap(lambda image, start: jax.lax.dynamic_slice(image, (*start, 0), shape))(padded, starts)


def warped(x, key, most):
    """Each image under a linear map about its centre, so rotated, zoomed and sheared at once: the entries of the map
    differ from the identity's by up to `most`. Bilinear; beyond the edges their pixels are repeated."""
    b, height, width, _ = x.shape
    maps = jnp.eye(2) + jax.random.uniform(key, (b, 2, 2), minval=-most, maxval=most)
    centre = jnp.array([height - 1, width - 1])[:, None, None] / 2
    pixels = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")) - centre
    sources = jnp.einsum("bij,jhw->bihw", maps, pixels) + centre
    channel = lambda image, at: map_coordinates(image, list(at), order=1, mode="nearest")  # noqa: E731
    return jax.vmap(jax.vmap(channel, (2, None), 2))(x, sources)
