"""What a training run carries from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """`step` counts finished updates; `attempt` counts rollbacks, so that a retried stretch draws other noise."""

    step: jax.Array
    attempt: jax.Array
    params: Any
    ema_params: Any
    opt_state: Any


@flax.struct.dataclass
class MemoryState(TrainState):
    """With what a method carries from step to step beside its networks."""

    memory: Any


def init_state(params, optimizer, memory=None):
    """The state before the first step; a MemoryState where there is something to carry, None is nothing."""
    step, attempt = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # two arrays: one cannot be donated twice
    common = step, attempt, params, jax.tree.map(jnp.copy, params), optimizer.init(params)
    return TrainState(*common) if memory is None else MemoryState(*common, memory)


def make_optimizer(*, learning_rate, weight_decay, warmup, clip, schedule, steps, optimizer="adamw"):
    """AdamW, or SGD with Nesterov momentum .9, behind a global-norm clip, learning rate rising linearly over `warmup`
    steps, then `constant`, `cosine`, or `cosine_7_16`, FixMatch's cos(7 pi k / 16 K). A clip of 0 is none.

    The first update has learning rate learning_rate / warmup (score_sde's has 0, and so is lost). AdamW's weight decay
    leaves out the frequencies W of noise embeddings, which are not trained: it alone would shrink them. SGD's is of
    kernels alone.
    """

    def rate(count):
        value, done = learning_rate * jnp.minimum((count + 1) / max(warmup, 1), 1.0), jnp.minimum(count / steps, 1.0)
        if schedule == "cosine":
            value = value * 0.5 * (1 + jnp.cos(jnp.pi * done))
        elif schedule == "cosine_7_16":
            value = value * jnp.cos(7 * jnp.pi / 16 * done)
        return value

    def decays(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "W", params)

    def kernels(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)

    if optimizer == "sgd":
        decay = optax.add_decayed_weights(weight_decay, mask=kernels)
        update = optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=True))
    else:
        update = optax.adamw(rate, weight_decay=weight_decay, mask=decays)
    return optax.chain(optax.clip_by_global_norm(clip), update) if clip else update
