"""Many images from a compiled sampler, batch by batch, with a progress line; labels go round the classes."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from scoressl_jax.sampling.predictor_corrector import image_keys
from scoressl_jax.training.step import by_image, device_mesh, replicated


def to_uint8(x):
    return np.asarray(jnp.round(jnp.clip(x, 0, 1) * 255).astype(jnp.uint8))


def generate(sample, parameters, count, batch, num_classes, seed, stop):
    """`sample(parameters, keys [B], labels [B]) -> x [B, ...]` for image indices 0 .. count - 1.

    Image i has class i mod num_classes and key fold_in(seed, i), whatever the batch size and number of devices.
    Returns images uint8 `[count, ...]` and labels int32 `[count]`.
    """
    mesh = device_mesh()
    split = by_image(mesh)

    @jax.jit
    def run(parameters, key, start):
        keys = jax.lax.with_sharding_constraint(image_keys(key, start, batch), split)
        labels = jax.lax.with_sharding_constraint((start + jnp.arange(batch)) % num_classes, split)
        x = sample(parameters, keys, labels)
        return jax.lax.with_sharding_constraint(x, replicated(mesh))

    parameters, key = jax.device_put(parameters, replicated(mesh)), jax.random.key(seed)
    images = []
    with tqdm(total=count, desc="sample", unit="image", file=sys.stdout, disable=jax.process_index() > 0) as bar:
        for start in range(0, count, batch):
            stop.check()
            images.append(to_uint8(run(parameters, key, jnp.int32(start))))
            bar.update(min(batch, count - start))
    return np.concatenate(images)[:count], (np.arange(count) % num_classes).astype(np.int32)
