"""Inception features of many images, from which FID, KID, the inception score and sFID are computed."""

import sys
from functools import partial

import jax
from tqdm import tqdm

from scoressl_jax.devices import batched, by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.models.inception import Inception, prepare


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
    params = jax.device_put(params, replicated(mesh))
    with tqdm(
        total=len(images), desc="inception", unit="image", file=sys.stdout, disable=jax.process_index() > 0
    ) as bar:
        found = batched(lambda part: features(params, part, mesh), batch, images, progress=bar.update)
    return dict(zip(("pool", "logits", "spatial"), found, strict=True))
