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


def init_state(params, optimizer):
    step, attempt = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)  # two arrays: one cannot be donated twice
    return TrainState(step, attempt, params, jax.tree.map(jnp.copy, params), optimizer.init(params))


def make_optimizer(*, learning_rate, weight_decay, warmup, clip, schedule, steps):
    """AdamW behind a global-norm clip, learning rate rising linearly over `warmup` steps, then `constant` or `cosine`.
    A clip of 0 is none.

    The first update has learning rate learning_rate / warmup (score_sde's has 0, and so is lost). Weight decay leaves
    out the frequencies W of noise embeddings, which are not trained: it alone would shrink them.
    """

    def rate(count):
        value = learning_rate * jnp.minimum((count + 1) / max(warmup, 1), 1.0)
        if schedule == "cosine":
            value = value * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(count / steps, 1.0)))
        return value

    def decays(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "W", params)

    adamw = optax.adamw(rate, weight_decay=weight_decay, mask=decays)
    return optax.chain(optax.clip_by_global_norm(clip), adamw) if clip else adamw
