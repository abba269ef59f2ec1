"""Weights of the FID Inception-v3: pt_inception-2015-12-05-6726825d.pth, which the pytorch-fid project released.

An .npz of the same arrays under the same names (`scoressl import` makes it) is read without PyTorch, and serves
wherever the .pth does. Reading either never executes code from it.
"""

from functools import cache

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.files import path_of
from scoressl_jax.models.inception import OUTPUTS, Inception
from scoressl_jax.weights.fit import SHOWN
from scoressl_jax.weights.score_sde import TORCH, read_bytes

EPSILON = 1e-3  # of the graph's batch normalisation
EXPECTED = "give pt_inception-2015-12-05-6726825d.pth, which github.com/mseitzer/pytorch-fid releases, or its .npz"


def read_inception(path):
    """Parameters of models.inception.Inception from the .pth or .npz of that name.

    Raises UserError for a file that cannot be read, or that lacks arrays, has others, or has them in other shapes.
    """
    return parameters(read_arrays(path))


def read_arrays(path):
    """The file's arrays {name: array}, all that `layout` wants in their shapes and no others."""
    path = path_of(path)
    read_bytes(path, 1)
    arrays = read_npz(path) if str(path).endswith(".npz") else read_torch(path)
    # PyTorch since 0.4.1 counts batches of training, which the released file was made without.
    arrays = {name: array for name, array in arrays.items() if not name.endswith(".num_batches_tracked")}
    wrong = differences({name: array.shape for name, array in arrays.items()}, layout())
    if wrong:
        raise UserError(f"{path} is not the Inception of FID: {'; '.join(wrong)}; {EXPECTED}")
    return arrays


def read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # NumPy, zipfile and zlib raise many types for damaged files and those of other kinds
        reason = f"{path} cannot be read as .npz ({type(error).__name__}: {one_line(error):.120})"
        raise UserError(f"{reason}: it is no .npz, or not whole; {EXPECTED}") from None


def read_torch(path):
    try:
        import torch
    except ImportError:
        made = "or give the .npz that scoressl import makes of it"
        raise UserError(f"{path} needs {TORCH}; {made}") from None
    try:
        file = torch.load(path, map_location="cpu", weights_only=True)
        return {name: array.detach().numpy() for name, array in file.items()}
    except AttributeError:
        raise UserError(f"{path} holds no dict of arrays: {EXPECTED}") from None
    except Exception as error:  # PyTorch raises many types, with long texts that advise to read unsafely
        reason = f"{path} cannot be read ({type(error).__name__})"
        raise UserError(f"{reason}: it is no file of PyTorch, or not whole; {EXPECTED}") from None


@cache
def kernels():
    """{"Mixed_5b.branch1x1": shape of the kernel [h, w, in, out]} of the network's convolutions."""
    image = jax.ShapeDtypeStruct((1, 75, 75, 3), np.float32)
    tree = jax.eval_shape(Inception().init, jax.random.key(0), image)["params"]
    leaves = flatten_dict(tree, sep=".").items()
    return {name.removesuffix(".kernel"): leaf.shape for name, leaf in leaves if len(leaf.shape) == 4}


def layout():
    """{name: shape} of the file's arrays."""
    wanted = {"fc.weight": (OUTPUTS, 2048), "fc.bias": (OUTPUTS,)}
    for name, (height, width, inputs, outputs) in kernels().items():
        wanted[f"{name}.conv.weight"] = (outputs, inputs, height, width)
        wanted |= {f"{name}.bn.{leaf}": (outputs,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return wanted


def differences(given, wanted):
    """Each name of another shape, left over or missing, `SHOWN` of them."""
    found = [
        f"{name} is {list(given[name])}, the network's is {list(wanted[name])}"
        for name in sorted(wanted.keys() & given.keys())
        if wanted[name] != given[name]
    ]
    found += [f"{name} is not in the network" for name in sorted(given.keys() - wanted.keys())]
    found += [f"{name} is missing" for name in sorted(wanted.keys() - given.keys())]
    return found[:SHOWN] + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def parameters(arrays):
    """The file's arrays as the network's tree."""
    tree = {"fc.kernel": arrays["fc.weight"].T.astype(np.float32)}  # fc.bias: the network's logits have none
    for name in kernels():
        tree[f"{name}.kernel"], tree[f"{name}.bias"] = fold(arrays, name)
    return {"params": unflatten_dict(tree, sep=".")}


def fold(arrays, name):
    """(kernel, bias) of a convolution that does what the file's does with its batch normalisation: normalisation by
    running statistics, gamma (y - mean) / sqrt(var + eps) + beta, is linear in y."""
    gamma, beta, mean, var = (
        arrays[f"{name}.bn.{leaf}"].astype(np.float64) for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + EPSILON)
    kernel = arrays[f"{name}.conv.weight"].transpose(2, 3, 1, 0) * scale
    return kernel.astype(np.float32), (beta - mean * scale).astype(np.float32)
