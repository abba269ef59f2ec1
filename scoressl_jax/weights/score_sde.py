"""Checkpoints of score_sde's NCSN++ and DDPM++ (Song et al. 2021), of its JAX and its PyTorch program, as Weights.

Both files are turned into the flat layout of the JAX program, {("ResnetBlockBigGANpp_3", "Conv_0", "kernel"): array},
and from there into our names. Neither can execute code when it is read: msgpack holds data alone, and PyTorch's reader
is told to build nothing but tensors (weights_only).
"""

import re

import numpy as np
from flax.serialization import msgpack_restore

from scoressl_jax.errors import UserError
from scoressl_jax.files import path_of
from scoressl_jax.models.scaling import POSITIONAL
from scoressl_jax.weights.fit import Weights

OURS = {
    "ResnetBlockBigGANpp": "ResidualBlock",
    "AttnBlockpp": "Attention",
    "Downsample": "PyramidDownsample",
    "Combine": "Combine",
    "Conv": "Conv",
    "GroupNorm": "GroupNorm",
}
TORCH_FILES = (b"PK", b"\x80\x02")  # zip archives, and pickles before PyTorch 1.6
TORCH = "PyTorch, to read the file: pip install 'scoressl_jax[torch]' (in a checkout: pip install -e '.[torch]')"


def read_flax(path, height):
    """A file of the JAX program: msgpack of step, optimizer, lr, model_state, ema_rate, params_ema and rng."""
    path = path_of(path)
    data = read_bytes(path)
    if data.startswith(TORCH_FILES):
        raise UserError(f"{path} is a PyTorch file: read it as score_sde_torch:{path}")
    try:
        file = msgpack_restore(data)
        averaged, raw, step = file["params_ema"], file["optimizer"]["target"], int(file["step"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} has no {error}: it is no checkpoint of score_sde's training") from None
    except Exception as error:  # msgpack raises many types for files of other kinds and truncated ones
        reason = f"{path} cannot be read as msgpack ({type(error).__name__})"
        raise UserError(f"{reason}: it is no checkpoint of score_sde, or not whole") from None
    return weights(flat(averaged), flat(raw), step, path, height)


def read_torch(path, height):
    """A file of the PyTorch program: a dict of optimizer, model, ema and step."""
    try:
        import torch
    except ImportError:
        raise UserError(f"{path} needs {TORCH}") from None
    path = path_of(path)
    read_bytes(path, 1)
    try:
        file = torch.load(path, map_location="cpu", weights_only=True)
        model = {name.removeprefix("module."): array.numpy() for name, array in file["model"].items()}
        averaged, step = [array.numpy() for array in file["ema"]["shadow_params"]], int(file["step"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} has no {error}: it is no checkpoint of score_sde_pytorch's training") from None
    except Exception as error:  # PyTorch raises many types, with long texts
        reason = (str(error).strip().splitlines() or [""])[0]
        reason = f"{path} cannot be read ({type(error).__name__}: {reason:.120})"
        raise UserError(f"{reason}: it is no checkpoint of PyTorch, or not whole") from None
    sigmas = model.pop("sigmas", None)
    # The average has the trained parameters in the model's order: all but the frequencies W of the embedding.
    trained = [name for name in model if name != "all_modules.0.W"]
    if len(trained) != len(averaged):
        raise UserError(f"{path} has {len(trained)} trained arrays, but averages of {len(averaged)}: it is damaged")
    smooth = model | dict(zip(trained, averaged, strict=True))
    noise = None if sigmas is None else (float(f"{sigmas.min():.6g}"), float(f"{sigmas.max():.6g}"))
    order = [kind for kind, _ in torch_modules(model).values()]
    return weights(as_flax(smooth), as_flax(model), step, path, height, noise, order)


def read_bytes(path, count=-1):
    try:
        with path_of(path).open("rb") as file:
            data = file.read(count)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the name of the file") from None
    if not data:
        raise UserError(f"{path} is empty: copy the file again")
    return data


# The PyTorch program's layout: all_modules.INDEX.NAME, modules in the order in which they are called


def torch_modules(arrays):
    """{index: (class of the JAX program, {name within the module: array})} in the file's order."""
    modules = {}
    for key, array in arrays.items():
        match = re.fullmatch(r"all_modules\.(\d+)\.(.+)", key)
        if not match:
            raise UserError(f"the file holds {key}, which is not of an NCSN++: expected all_modules.INDEX.NAME")
        modules.setdefault(int(match[1]), {})[match[2]] = array
    return {index: (kind_of(arrays), arrays) for index, arrays in sorted(modules.items())}


def kind_of(arrays):
    for name, kind in (
        ("Dense_0.weight", "ResnetBlockBigGANpp"),
        ("NIN_0.W", "AttnBlockpp"),
        ("Conv2d_0.weight", "Downsample"),
        ("Conv_0.weight", "Combine"),
        ("W", "GaussianFourierProjection"),
    ):
        if name in arrays:
            return kind
    return {1: "GroupNorm", 2: "Dense", 4: "Conv"}[arrays["weight"].ndim]


def as_flax(arrays):
    """The PyTorch program's arrays in the flat layout of the JAX program, which counts modules class by class."""
    counts, result = {}, {}
    for kind, module in torch_modules(arrays).values():
        number = counts[kind] = counts.get(kind, -1) + 1
        for name, array in module.items():
            *inner, leaf = name.split(".")
            if leaf == "weight":
                leaf = "scale" if array.ndim == 1 else "kernel"
                array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
            result[f"{kind}_{number}", *inner, leaf] = array
    return result


# The JAX program's layout


def flat(tree, path=()):
    """Nested dicts -> {path: array}."""
    if not isinstance(tree, dict):
        return {path: np.asarray(tree)}
    return {key: leaf for name, part in tree.items() for key, leaf in flat(part, (*path, name)).items()}


def our_path(path):
    first, *inner, leaf = path
    kind, number = first.rsplit("_", 1)
    if kind == "GaussianFourierProjection":
        return "NoiseEmbedding_0", "FourierEmbedding_0", "W"
    if kind == "Dense":
        return "NoiseEmbedding_0", first, leaf
    if kind not in OURS:
        raise UserError(f"the file holds {'/'.join(path)}, which is not of an NCSN++")
    inner = [name.replace("NIN_", "Dense_").replace("Conv2d_", "Conv_") for name in inner]
    return f"{OURS[kind]}_{number}", *inner, {"W": "kernel", "b": "bias", "weight": "kernel"}.get(leaf, leaf)


def our_tree(arrays):
    """Parameters of a ScoreNetwork. Group normalisation's come as (1, 1, 1, C) from flax before 0.3.5."""
    tree = {}
    for path, array in arrays.items():
        *parents, leaf = our_path(path)
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = array.reshape(-1) if leaf in ("scale", "bias") else array
    return {"params": {"body": tree}}


def weights(averaged, raw, step, path, height, noise=None, order=()):
    averaged, raw = our_tree(averaged), our_tree(raw)
    fields = architecture(averaged["params"]["body"], path)
    levels = attention_levels(order, fields)
    if levels is not None:
        fields["attention"] = tuple(height >> level for level in levels)
    fourier = "FourierEmbedding_0" in averaged["params"]["body"]["NoiseEmbedding_0"]
    scalings = ("sigma",) if fourier else POSITIONAL
    return Weights(averaged, raw, step, scalings, fields, noise if fourier else None)


# What the arrays tell of the network


def architecture(body, path):
    """Fields of the network read off the parameters."""
    try:
        count = sum(name.startswith("ResidualBlock_") for name in body)
        blocks = [body[f"ResidualBlock_{i}"] for i in range(count)]
        width, embedding = body["Conv_0"]["kernel"].shape[-1], body["NoiseEmbedding_0"]["Dense_0"]["kernel"].shape[1]
        # Blocks that change the resolution are the only ones with a shortcut of equal width; the first ends a level.
        shortcuts = [(i, b["Conv_2"]["kernel"].shape) for i, b in enumerate(blocks) if "Conv_2" in b]
        per_level = next((i for i, shape in shortcuts if shape[2] == shape[3]), (count - 3) // 2)
        levels, rest = divmod(count, 2 * per_level + 3)
        outputs = [blocks[i * (per_level + 1)]["Conv_0"]["kernel"].shape[-1] for i in range(levels)]
    except (KeyError, IndexError) as error:
        raise UserError(f"{path} holds no NCSN++ ({error} is missing)") from None
    if rest or not levels or any(output % width for output in outputs):
        raise UserError(f"{path} has {count} residual blocks of widths {outputs}, which make no NCSN++")
    pyramid = "residual" if "PyramidDownsample_0" in body else "skip" if "Combine_0" in body else "none"
    return {
        "network": "ncsnpp",
        "width": width,
        "multipliers": tuple(output // width for output in outputs),
        "blocks": per_level,
        "embedding": embedding // 4,
        "pyramid": pyramid,
        "fir": pyramid != "none",  # as in every released configuration; filters have no parameters
    }


def attention_levels(order, fields):
    """Levels whose blocks are followed by attention on the way down, from the order in which modules are called; None
    without one: the JAX program's files do not tell."""
    calls = [kind for kind in order if kind in ("ResnetBlockBigGANpp", "AttnBlockpp")]
    if not calls:
        return None
    levels, position = [], 0
    for level in range(len(fields["multipliers"])):
        attended = calls[position + 1 : position + 2] == ["AttnBlockpp"]
        levels += [level] * attended
        position += fields["blocks"] * (2 if attended else 1) + 1  # and the block that halves the resolution
    return tuple(levels)
