"""From a loss to one compiled function that makes many updates in a call.

    loss_fn(params, frozen, batch, key) -> (loss, {name: scalar})
    make_batch(arrays, indices, key) -> batch

A loss that looks at the state, at its averages or at its memory, is given (frozen, state) for `frozen`, and logs what
the state's memory becomes under "memory".

`arrays` (images as uint8, labels) and `frozen` (parameters that are not trained) live on the device and are passed
in, never compiled in. The batch of step n follows from (seed, n) alone: its indices from `batch_indices`, its noise
from fold_in(key, n).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from scoressl_jax.devices import replicated


@lru_cache(maxsize=8)
def _epoch_order(seed, stream, epoch, size):
    return np.random.default_rng([seed, stream, epoch]).permutation(size)


def batch_indices(pool, batch, seed, stream, start, steps):
    """Images of the batches of steps start .. start + steps - 1, int32 `[steps, batch]`.

    `pool [P]` is shuffled anew each epoch, and batches walk through epoch after epoch, so every image comes up
    equally often. `stream` keeps the orders of several pools apart.
    """
    position = np.arange(start * batch, (start + steps) * batch, dtype=np.int64)
    epochs, offsets = np.divmod(position, len(pool))
    order = np.empty(len(position), np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        order[here] = _epoch_order(seed, stream, int(epoch), len(pool))[offsets[here]]
    return pool[order].astype(np.int32).reshape(steps, batch)


def grads_of(loss_fn):
    """`(params, frozen, batch, key) -> ((loss, logs), grads)`."""
    return jax.value_and_grad(loss_fn, has_aux=True)


def grads_of_runs(loss_fn):
    """The same for R independent runs at once: params and batch have a leading axis `[R]`, run r has noise of its own.

    The loss is the sum over runs, so an optimiser that works element by element trains each as if alone; run r logs
    NAME_r.
    """

    def grads(params, frozen, batch, key):
        runs = jax.tree.leaves(params)[0].shape[0]
        keys = jax.vmap(lambda r: jax.random.fold_in(key, r))(jnp.arange(runs))
        one = lambda params, batch, key: grads_of(loss_fn)(params, frozen, batch, key)  # noqa: E731
        if runs == 1:  # batched products of one run would be slower than its own
            first = jax.tree.map(lambda leaf: leaf[0], (params, batch, keys))
            (losses, logs), grads = jax.tree.map(lambda leaf: leaf[None], one(*first))
        else:
            (losses, logs), grads = jax.vmap(one)(params, batch, keys)
        named = {f"{name}_{r}": values[r] for name, values in ({"loss": losses} | logs).items() for r in range(runs)}
        return (losses.sum(), named), grads

    return grads


def make_update(loss_fn, make_batch, optimizer, ema_decay, grads_of=grads_of, sees_state=False):
    """One update: `(state, arrays, frozen, indices, key) -> (state, logs)`; grads_of_runs makes it several runs'."""
    grads_fn = grads_of(loss_fn)

    def update(state, arrays, frozen, indices, key):
        key_batch, key_loss = jax.random.split(jax.random.fold_in(key, state.step))
        batch = make_batch(arrays, indices, key_batch)
        given = (frozen, state) if sees_state else frozen
        (loss, logs), grads = grads_fn(state.params, given, batch, key_loss)
        changes, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, changes)
        # EMA with warm-up: without it, short runs average in the initial weights for most of their length.
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        ema_params = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema_params, params)
        norms = {"grad_norm": optax.tree.norm(grads), "param_norm": optax.tree.norm(params)}
        memory = {"memory": logs.pop("memory")} if sees_state else {}
        new = state.replace(step=state.step + 1, params=params, ema_params=ema_params, opt_state=opt_state, **memory)
        return new, {"loss": loss, **logs, **norms}

    return update


def make_multi_update(update, mesh):
    """`(state, arrays, frozen, indices, count, key) -> (state, logs)`: the first `count` of the steps that `indices`
    holds (each entry `[steps, batch]`), in one compiled call. `count` is traced, so no length of call recompiles.

    The state is donated. logs are `[steps]` a name; entries from `count` on are zero. Batches are split over the
    mesh's data axis, everything else is replicated.
    """
    by_batch = NamedSharding(mesh, PartitionSpec(None, "data"))

    def multi_update(state, arrays, frozen, indices, count, key):
        indices = jax.lax.with_sharding_constraint(indices, by_batch)
        steps = jax.tree.leaves(indices)[0].shape[0]

        def one(i, state):
            return update(state, arrays, frozen, jax.tree.map(lambda a: a[i], indices), key)

        def body(i, carry):
            state, logs = carry
            state, new = one(i, state)
            return state, jax.tree.map(lambda a, v: a.at[i].set(v), logs, new)

        names = jax.eval_shape(one, 0, state)[1]
        logs = jax.tree.map(lambda _: jnp.zeros(steps), names)
        return jax.lax.fori_loop(0, count, body, (state, logs))

    return jax.jit(multi_update, donate_argnums=0, out_shardings=replicated(mesh))
