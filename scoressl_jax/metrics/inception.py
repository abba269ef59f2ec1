"""Inception features of many images, from which FID, KID, the inception score and sFID are computed."""

import sys
from functools import partial

import jax
import numpy as np
from tqdm import tqdm

from scoressl_jax.errors import UserError
from scoressl_jax.models.inception import Inception, prepare
from scoressl_jax.training.step import by_image, device_mesh, replicated


@partial(jax.jit, static_argnames="mesh")
def features(params, images, mesh):
    """Features of one batch, computed where its images are: split over the devices of the mesh."""
    images = jax.lax.with_sharding_constraint(images, by_image(mesh))
    return jax.lax.with_sharding_constraint(Inception().apply(params, prepare(images)), replicated(mesh))


def inception_features(params, images, batch=64):
    """{"pool" [N, 2048], "logits" [N, 1008], "spatial" [N, 2023]}, float32, of images uint8 `[N, H, W, 1 or 3]`.

    params: of importers.inception.read_inception. The last batch is padded, so that one program serves all images of
    a size; `batch` is rounded up to a multiple of the devices. Raises UserError for other shapes and for no images.
    """
    if not len(images):
        raise UserError("there are no images to compute Inception features of: sample or name some")
    mesh = device_mesh()
    batch += -batch % mesh.size
    params, parts = jax.device_put(params, replicated(mesh)), []
    with tqdm(
        total=len(images), desc="inception", unit="image", file=sys.stdout, disable=jax.process_index() > 0
    ) as bar:
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            parts.append([np.asarray(values)[: len(part)] for values in features(params, padded, mesh)])
            bar.update(len(part))
    return dict(zip(("pool", "logits", "spatial"), map(np.concatenate, zip(*parts, strict=True)), strict=True))
