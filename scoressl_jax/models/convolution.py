"""A 2-D convolution whose gradients, of any order, are again canonical NHWC x HWIO -> NHWC convolutions.

XLA's fast CPU kernels take that form only. The gradients that JAX derives use other dimension orders and then
run in a naive loop, some 40 times slower, inside `lax.scan` and `while` (jax issue 12868). Reverse mode only, one
group. `Conv` is flax's with this function inside; networks use no other convolution.
"""

from functools import partial

import flax.linen as nn
import jax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def canonical_conv(x, w, strides, padding, x_dilation, w_dilation):
    """x `[B, H, W, I]`, w `[h, w, I, O]` -> `[B, H', W', O]`; padding is ((low, high), (low, high))."""
    return jax.lax.conv_general_dilated(x, w, strides, padding, x_dilation, w_dilation, DIMENSIONS)


def _forward(x, w, *static):
    return canonical_conv(x, w, *static), (x, w)


def _dilated(sizes, dilation):
    return [(size - 1) * d + 1 for size, d in zip(sizes, dilation, strict=True)]


def _backward(strides, padding, x_dilation, w_dilation, residuals, g):
    x, w = residuals
    x_size, w_size = _dilated(x.shape[1:3], x_dilation), _dilated(w.shape[:2], w_dilation)
    g_size = _dilated(g.shape[1:3], strides)

    # Input gradient: g against the flipped kernel with its channels swapped.
    low = [w_size[i] - 1 - padding[i][0] for i in (0, 1)]
    high = [x_size[i] + w_size[i] - 1 - g_size[i] - low[i] for i in (0, 1)]
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)
    grad_x = canonical_conv(g, flipped, x_dilation, tuple(zip(low, high, strict=True)), strides, w_dilation)

    # Kernel gradient: channels of x as batch, batch as channels, g as the kernel.
    high = [w_size[i] - 1 + g_size[i] - x_size[i] - padding[i][0] for i in (0, 1)]
    pad = tuple((padding[i][0], high[i]) for i in (0, 1))
    grad_w = canonical_conv(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), w_dilation, pad, x_dilation, strides)
    return grad_x, grad_w.transpose(1, 2, 0, 3)


canonical_conv.defvjp(_forward, _backward)


def _same_padding(size, kernel, stride):
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def conv_general_dilated(lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, **_):
    """Drop-in for the function of that name in `flax.linen.Conv` (NHWC, one group)."""
    strides = tuple(window_strides)
    if isinstance(padding, str):
        sizes = zip(lhs.shape[1:3], rhs.shape[:2], strides, strict=True)
        padding = [_same_padding(*s) if padding == "SAME" else (0, 0) for s in sizes]
    dilations = tuple(lhs_dilation or (1, 1)), tuple(rhs_dilation or (1, 1))
    return canonical_conv(lhs, rhs, strides, tuple(map(tuple, padding)), *dilations)


Conv = partial(nn.Conv, conv_general_dilated=conv_general_dilated)
