"""What a source of weights gives, and whether it fits the network that a config asks for."""

from dataclasses import dataclass, field

import jax
import numpy as np

from scoressl_jax.errors import UserError

SHOWN = 4  # keys named in one line
PROCESSES = {"sigma": "sde.name ve", "time": "sde.name vp or subvp", "index": "sde.name ve, discrete noise levels"}


@dataclass(frozen=True)
class Weights:
    """Parameters of a ScoreNetwork after `step` updates, averaged (`ema_params`) and raw.

    `fields` are those of the network that the source tells, `scalings` the values that its scaling may have.
    `noise` is the lowest and the highest noise-to-signal ratio of its training, None where the source does not say.
    """

    ema_params: dict
    params: dict
    step: int
    scalings: tuple
    fields: dict = field(default_factory=dict)
    noise: tuple | None = None


def check(weights, *, source, block, fields, resolutions, noise, network, image_shape):
    """Raise a UserError that names everything in which `weights` do not fit, none if they do.

    source: what the weights are of. block: what messages call the fields' block. fields: what the network is asked to
    be, {name: value}. resolutions: heights that its levels have. noise: (lowest, highest) noise-to-signal ratio of its
    process.
    """
    wrong = [
        f"{block}.{name} is {plain(fields[name])}, the weights have {plain(value)}"
        for name, value in weights.fields.items()
        if comparable(name, fields[name], resolutions) != comparable(name, value, resolutions)
    ]
    if fields["scaling"] not in weights.scalings:
        allowed = " or ".join(f"{name} ({PROCESSES.get(name, 'ours')})" for name in weights.scalings)
        wrong.append(f"{block}.scaling is {fields['scaling']}, the weights have {allowed}")
    if not wrong:
        inputs = jax.ShapeDtypeStruct((1, *image_shape), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
        wrong = misfits(weights.ema_params, jax.eval_shape(network.init, jax.random.key(0), *inputs))
    if wrong:
        raise UserError(f"{source} does not fit: {'; '.join(wrong)}")
    if weights.noise and not (weights.noise[0] / 1.01 <= noise[0] and noise[1] <= weights.noise[1] * 1.01):
        raise UserError(
            f"{source} was trained on noise levels {weights.noise[0]:.4g} to {weights.noise[1]:.4g}, the process has "
            f"{noise[0]:.4g} to {noise[1]:.4g}: keep within the former (sde.sigma_min, sde.sigma_max)"
        )


def plain(value):
    return tuple(value) if isinstance(value, list | tuple) else value


def comparable(name, value, resolutions):
    """Attention at a resolution that no level has means nothing."""
    return sorted(set(value) & set(resolutions)) if name == "attention" else plain(value)


def misfits(params, template):
    """Each key of the parameters that is missing, left over or not of the template's shape, `SHOWN` of them."""
    wanted, given = shapes(template), shapes(params)
    found = [f"{key} is missing" for key in wanted.keys() - given.keys()]
    found += [f"{key} is not in the network" for key in given.keys() - wanted.keys()]
    found += [
        f"{key} is {list(given[key])}, the network's is {list(wanted[key])}"
        for key in wanted.keys() & given.keys()
        if wanted[key] != given[key]
    ]
    found.sort()
    return found[:SHOWN] + ([f"and {len(found) - SHOWN} more keys"] if len(found) > SHOWN else [])


def shapes(tree):
    """{"body/Conv_0/kernel": shape} of a network's parameters."""
    leaves = jax.tree_util.tree_leaves_with_path(tree["params"])
    return {"/".join(str(key.key) for key in path): tuple(leaf.shape) for path, leaf in leaves}
