"""Many images from a compiled sampler, batch by batch, with a progress line."""

import sys

import jax
import numpy as np
from tqdm import tqdm

from scoressl_jax.devices import by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.sampling.loop import image_keys


def to_uint8(x):
    return np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)


class Progress:
    """A bar of images that also moves inside a batch, where `inside(done, of)` is told how far the batch is."""

    def __init__(self, count, first=0, shown=True):
        self.count, self.start, self.size = count, first, 0
        self.bar = tqdm(
            total=count,
            initial=first,
            desc="sample",
            unit="image",
            file=sys.stdout,
            disable=not shown or jax.process_index() > 0,
        )
        self.bar.set_postfix_str("compiling", refresh=False)

    def begin(self, start, size):
        jax.effects_barrier()  # nothing of the batch before may still arrive
        self.start, self.size = start, min(size, self.count - start)
        self.bar.refresh()

    def inside(self, done, of):
        self.bar.set_postfix_str("", refresh=False)  # the first news is that it has been compiled
        self.bar.update(max(self.start + int(self.size * int(done) / int(of)) - self.bar.n, 0))


def batch_drawer(sample):
    """`sample(parameters, keys [B], **conditions) -> x [B, ...]` as a compiled function of (parameters, key, indices
    [B], conditions): image i has key fold_in(key, i). The batch is split over the devices."""
    mesh = device_mesh()
    split = by_image(mesh)

    @jax.jit
    def draw(parameters, key, indices, conditions):
        keys = jax.lax.with_sharding_constraint(image_keys(key, indices), split)
        x = sample(parameters, keys, **jax.lax.with_sharding_constraint(conditions, split))
        return jax.lax.with_sharding_constraint(x, replicated(mesh))

    return draw


def generate(make_sample, parameters, conditions, *, batch, seed, stop, first=0):
    """Images uint8 `[N, ...]` of `sample(parameters, keys [B], **conditions) -> x [B, ...]`, one for each entry of the
    arrays `[N, ...]` in `conditions` (labels, say).

    `make_sample(progress)` gives the sampler, which may tell progress(done, of). Image i has key fold_in(seed, i) and
    entry i of the conditions, whatever the batch size and number of devices; those before `first` are not drawn, and
    not returned. Raises UserError where an image is not finite.
    """
    progress = Progress(len(next(iter(conditions.values()))), first)
    draw = batch_drawer(make_sample(progress.inside))
    return to_uint8(drawn(draw, parameters, conditions, batch=batch, seed=seed, stop=stop, progress=progress))


def drawn(draw, parameters, conditions, *, batch, seed, stop, progress):
    """The same as floats `[N - progress.start, ...]`, of a batch_drawer's function."""
    count, first, images = len(next(iter(conditions.values()))), progress.start, []
    parameters, key = jax.device_put(parameters, replicated(device_mesh())), jax.random.key(seed)
    with progress.bar:
        for start in range(first, count, batch):
            stop.check()
            progress.begin(start, batch)
            indices = np.arange(start, start + batch) % count  # the last batch is filled up from the first image on
            x = draw(parameters, key, indices, {name: values[indices] for name, values in conditions.items()})
            images.append(np.asarray(x)[: count - start])
            check_finite(images[-1], start)
            progress.inside(1, 1)
    return np.concatenate(images)


def check_finite(x, start):
    bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(bad):
        raise UserError(
            f"sampling: image {start + bad[0]} is not finite ({len(bad)} of {len(x)} in its batch): lower the scale, "
            "take more steps or, of the adaptive sampler, a larger tolerance"
        )
