"""A two-layer ReLU network of one output whose derivatives are written out, for losses on its input gradient."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def relu_network(params, x):
    """u(x) = v . relu(W2' relu(W1' x + b1) + b2), `[B]`, for x `[B, D]` and params (W1, b1, W2, b2, v).

    Differentiable twice. The network is linear on each of its pieces, so its gradient in x is made of the same masks
    as its value, and three products of the size of x W1 W2 are enough for the gradient in params of any loss of u and
    grad u; automatic differentiation takes six.
    """
    return _value_and_slope(params, x)[0]


def _forward(params, x):
    u, slope = _value_and_slope(params, x)
    return u, (params, x, slope)


def _backward(residuals, u_bar):
    params, x, slope = residuals
    params_bar = jax.vjp(lambda params: _value_and_slope(params, x)[0], params)[1](u_bar)[0]
    return params_bar, u_bar[:, None] * slope


relu_network.defvjp(_forward, _backward)


@jax.custom_vjp
def _value_and_slope(params, x):
    """(u `[B]`, grad_x u `[B, D]`); its derivative in x takes the slope as the constant that it is on each piece."""
    return _slope_forward(params, x)[0]


def _slope_forward(params, x):
    w1, b1, w2, b2, v = params
    h1 = jax.nn.relu(x @ w1 + b1)
    on2 = (h1 @ w2 + b2 > 0).astype(x.dtype)
    r1 = jnp.where(h1 > 0, on2 @ (w2 * v).T, 0)  # du / d(first layer before its ReLU)
    u = (r1 * h1).sum(-1) + on2 @ (v * b2)
    return (u, r1 @ w1.T), (params, x, h1, on2, r1)


def _slope_backward(residuals, bars):
    (w1, _, w2, b2, v), x, h1, on2, r1 = residuals
    u_bar, slope_bar = bars
    r1_bar = jnp.where(h1 > 0, slope_bar @ w1, 0)
    both = (u_bar[:, None] * h1 + r1_bar).T @ on2  # value and slope share the second layer's masks
    on2_bar = u_bar @ on2
    w1_bar = x.T @ (u_bar[:, None] * r1) + slope_bar.T @ r1
    params_bar = (w1_bar, u_bar @ r1, both * v, on2_bar * v, (w2 * both).sum(0) + b2 * on2_bar)
    return params_bar, u_bar[:, None] * (r1 @ w1.T)


_value_and_slope.defvjp(_slope_forward, _slope_backward)
