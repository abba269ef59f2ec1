"""Many images from a compiled sampler, batch by batch, with a progress line."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from scoressl_jax.devices import by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.sampling.loop import image_keys


def to_uint8(x):
    return np.asarray(jnp.round(jnp.clip(x, 0, 1) * 255).astype(jnp.uint8))


class Progress:
    """A bar of images that also moves inside a batch, where `inside(done, of)` is told how far the batch is."""

    def __init__(self, count, first=0):
        self.count, self.start, self.size = count, first, 0
        self.bar = tqdm(
            total=count,
            initial=first,
            desc="sample",
            unit="image",
            file=sys.stdout,
            disable=jax.process_index() > 0,
        )

    def begin(self, start, size):
        jax.effects_barrier()  # nothing of the batch before may still arrive
        self.start, self.size = start, min(size, self.count - start)
        self.bar.refresh()

    def inside(self, done, of):
        self.bar.update(max(self.start + int(self.size * int(done) / int(of)) - self.bar.n, 0))


def generate(make_sample, parameters, conditions, *, batch, seed, stop, first=0):
    """Images uint8 `[N, ...]` of `sample(parameters, keys [B], **conditions) -> x [B, ...]`, one for each entry of the
    arrays `[N, ...]` in `conditions` (labels, say).

    `make_sample(progress)` gives the sampler, which may tell progress(done, of). Image i has key fold_in(seed, i) and
    entry i of the conditions, whatever the batch size and number of devices; those before `first` are not drawn, and
    not returned. Raises UserError where an image is not finite.
    """
    mesh, count = device_mesh(), len(next(iter(conditions.values())))
    split, progress = by_image(mesh), Progress(count, first)
    sample = make_sample(progress.inside)

    @jax.jit
    def run(parameters, key, indices, conditions):
        keys = jax.lax.with_sharding_constraint(image_keys(key, indices), split)
        x = sample(parameters, keys, **jax.lax.with_sharding_constraint(conditions, split))
        return jax.lax.with_sharding_constraint(x, replicated(mesh))

    parameters, key = jax.device_put(parameters, replicated(mesh)), jax.random.key(seed)
    images = []
    with progress.bar:
        for start in range(first, count, batch):
            stop.check()
            progress.begin(start, batch)
            indices = np.arange(start, start + batch) % count  # the last batch is filled up from the first image on
            x = run(parameters, key, indices, {name: values[indices] for name, values in conditions.items()})
            check_finite(np.asarray(x)[: count - start], start)
            images.append(to_uint8(x))
            progress.inside(1, 1)
    return np.concatenate(images)[: count - first]


def check_finite(x, start):
    bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(bad):
        raise UserError(
            f"sampling: image {start + bad[0]} is not finite ({len(bad)} of {len(x)} in its batch): lower the scale, "
            "take more steps or, of the adaptive sampler, a larger tolerance"
        )
