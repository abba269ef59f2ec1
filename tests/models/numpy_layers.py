"""The layers of the networks written again in float64 NumPy, for the tests of whole networks."""

import jax
import numpy as np


def random_parameters(module, *inputs, seed=1):
    """Parameters of the module's shapes, every one of them random."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]

    def draw(leaf):
        fan_in = max(1, np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 1
        return rng.normal(size=leaf.shape) / np.sqrt(fan_in)

    return jax.tree.map(draw, shapes)


def count(module, *shapes):
    """Number of parameters, without making any."""
    inputs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    tree = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0.0)


def swish(x):
    return x / (1 + np.exp(-x))


def noise_embedding(p, log_sigma):
    angle = 2 * np.pi * log_sigma[:, None] * p["FourierEmbedding_0"]["W"]
    return embedding_layers(p, angle)


def positional_embedding(p, level):
    half = p["Dense_0"]["kernel"].shape[0] // 2
    return embedding_layers(p, level[:, None] * np.exp(-np.log(10_000) * np.arange(half) / (half - 1)))


def embedding_layers(p, angle):
    features = np.concatenate([np.sin(angle), np.cos(angle)], 1)
    return dense(p["Dense_1"], swish(dense(p["Dense_0"], features)))


def convolve(p, x, stride=1, pad=None):
    """Cross-correlation; without `pad`, SAME: ceil(size / stride) pixels come out, the odd pixel of padding is last."""
    kernel = p["kernel"]
    k = kernel.shape[0]
    totals = [max((-(-size // stride) - 1) * stride + k - size, 0) for size in x.shape[1:3]]
    pads = [pad or (total // 2, total - total // 2) for total in totals]
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = ((size - k) // stride + 1 for size in x.shape[1:3])
    y = sum(
        x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride] @ kernel[i, j]
        for i in range(k)
        for j in range(k)
    )
    return y + p.get("bias", 0.0)


def group_norm(p, x, epsilon):
    b, height, width, c = x.shape
    groups = max(1, min(c // 4, 32))
    h = x.reshape(b, height, width, groups, c // groups)
    h = (h - h.mean((1, 2, 4), keepdims=True)) / np.sqrt(h.var((1, 2, 4), keepdims=True) + epsilon)
    return h.reshape(x.shape) * p["scale"] + p["bias"]


def instance_norm_plus(p, x):
    mu, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    m, v = mu.mean(-1, keepdims=True), mu.var(-1, keepdims=True)
    h = (x - mu) / np.sqrt(var + 1e-5) + p["alpha"] * (mu - m) / np.sqrt(v + 1e-5)
    return p["gamma"] * h + p["beta"]


def standardize(x):
    mean, std = x.mean((1, 2, 3), keepdims=True), x.std((1, 2, 3), keepdims=True)
    return (x - mean) / np.maximum(std, 1 / np.sqrt(x[0].size))


def patches(x, patch):
    """The pixels of each patch as channels, row by row."""
    return np.concatenate([x[:, i::patch, j::patch] for i in range(patch) for j in range(patch)], -1)


def average(x):
    """Means of two by two pixels, and of those there are at an odd edge."""
    rows, columns = (range(0, size, 2) for size in x.shape[1:3])
    return np.stack([np.stack([x[:, i : i + 2, j : j + 2].mean((1, 2)) for j in columns], 1) for i in rows], 1)


FIR = np.asarray([1.0, 3.0, 3.0, 1.0]) / 8


def fir(x, low, high, up=1, down=1):
    """upfirdn: zeros between pixels, padding, filter with gain `up`, every `down`-th pixel; both axes."""
    for axis in (1, 2):
        x = np.moveaxis(x, axis, -1)
        spread = np.zeros((*x.shape[:-1], x.shape[-1] * up))
        spread[..., ::up] = x
        padded = np.pad(spread, [(0, 0)] * (x.ndim - 1) + [(low, high)])
        x = up * np.apply_along_axis(np.convolve, -1, padded, FIR, "valid")[..., ::down]
        x = np.moveaxis(x, -1, axis)
    return x
