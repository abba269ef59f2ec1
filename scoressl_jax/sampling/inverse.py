"""Inverse problems: images of which a part is known (Song et al. 2021, section 5 and I.2 to I.3).

What is known is a hook of the sampling loop: after every move the known part is set to the known values, diffused to
the time that the move arrived at. That approximates the conditional distribution, the better the more correctors' steps
there are at every level.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.sampling.loop import clean_or
from scoressl_jax.sde import expand

TASKS = ("none", "inpainting", "colorization")
# Parts of an image of size (height, width) that inpainting draws, as (rows, columns).
HIDDEN = {
    "right": lambda h, w: (slice(None), slice(w // 2, None)),
    "bottom": lambda h, w: (slice(h // 2, None), slice(None)),
    "center": lambda h, w: (slice(h // 4, h - h // 4), slice(w // 4, w - w // 4)),
}


def known_part(sde, known, mask, basis=None):
    """`project(x, t, z) -> x` for reverse_process.

    known `[B, H, W, C]` in [0, 1] holds the images where `mask` (1 where known, broadcast to their shape) says so, in
    the channels of `basis`, an orthonormal matrix `[C, C]` whose columns are mixtures of channels; None: the channels
    themselves. z is standard normal, zeros for the mean.
    """
    # In full precision: a rotation there and back after every move must not change the image.
    turned = lambda x, matrix: jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)  # noqa: E731
    into = (lambda x: x) if basis is None else (lambda x: turned(x, basis))
    back = (lambda x: x) if basis is None else (lambda x: turned(x, basis.T))

    def project(x, t, z):
        alpha, std = clean_or(sde, t)
        given = expand(alpha, x) * into(known) + expand(std, x) * z
        return back(jnp.where(mask, given, into(x)))

    return project


def mask_of(hidden, shape):
    """Boolean `[H, W, 1]`, true where an image of shape (H, W, C) is known when the part `hidden` is drawn."""
    mask = np.ones((*shape[:2], 1), bool)
    mask[HIDDEN[hidden](*shape[:2])] = False
    return mask


def shown(task, images, hidden):
    """What a task gives of images `uint8 [N, H, W, C]`, as pictures of the same shape: hidden pixels are mid-grey."""
    if task == "colorization":
        return np.repeat(images.mean(-1, keepdims=True).round().astype(np.uint8), 3, axis=-1)
    return np.where(mask_of(hidden, images.shape[1:]), images, np.uint8(128))


def inpainting(sde, images, mask):
    """Images `[B, H, W, C]` in [0, 1] are known where `mask`, boolean and broadcast to them, is true."""
    return known_part(sde, images, mask)


def colorization(sde, images):
    """The mean of the three channels of images `[B, H, W, 3]` is known, grey images; their colours are drawn.

    The first axis of the basis is grey, (1, 1, 1) / sqrt(3); any two that complete it do.
    """
    basis = np.linalg.qr(np.asarray([[1.0, 1, 0], [1, -1, 1], [1, 0, -1]]))[0]
    return known_part(sde, images, jnp.arange(3) == 0, jnp.asarray(basis, jnp.float32))
