"""A learner that is linear in the pixels, whose augmentations are known maps: every loss and gradient of a method is
written down again in NumPy, both as one vector, so that terms and their gradients are weighed and added at once."""

import jax
import numpy as np
from small import QUICK

from scoressl_jax.methods.learner import Learner, Sizes

CLASSES, SHAPE, IMAGES = 3, (2, 2, 1), 12
rng = np.random.default_rng(0)
PARAMS, AVERAGE = rng.normal(size=(2, 4, CLASSES))
X = rng.uniform(size=(IMAGES, *SHAPE))
Y = rng.integers(0, CLASSES, IMAGES)
U = np.array([7, 2, 9, 4, 11])  # the batch's unlabelled images
BATCH = {"x": X[:3], "y": Y[:3], "x_u": X[U], "u": U, "y_u": Y[U]}
SHARES = np.array([0.5, 0.2, 0.3])
SIZES = Sizes(IMAGES, CLASSES, tuple(SHARES))


def weak(x, key=None):
    return 2 * x


def strong(x, key=None):
    return 3 * x - 1


def flat(x):
    return np.asarray(x).reshape(len(x), -1)


def of_linear(weights):
    def network(x):
        features = x.reshape(len(x), -1)
        return features @ weights, features

    return network


def softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def predicted(images, weights=PARAMS):
    """Probabilities `[B, C]` by NumPy."""
    return softmax(flat(images) @ weights)


def one_hot(labels):
    return np.eye(CLASSES)[labels]


def cross_entropy(images, targets, weights=1.0):
    """The mean loss and its gradient, one vector; targets are constants."""
    p, weights = predicted(images), np.broadcast_to(weights, len(images))[:, None]
    logits = weights * (p * targets.sum(1, keepdims=True) - targets) / len(images)
    return both(-(weights * targets * np.log(p)).sum() / len(images), images, logits)


def squared_difference(images, targets):
    p = predicted(images)
    slope = 2 * (p - targets) / p.size
    return both(((p - targets) ** 2).mean(), images, p * (slope - (p * slope).sum(1, keepdims=True)))


def both(value, images, by_logits):
    return np.concatenate([[value], (flat(images).T @ by_logits).ravel()])


def key_of(seed):
    return jax.random.key(seed, impl="unsafe_rbg")  # compiles fastest


def quick(fn, *arguments):
    """fn(*arguments), compiled in a fraction of the time."""
    return jax.jit(fn).lower(*arguments).compile(compiler_options=QUICK)(*arguments)


def run(method, progress=1.0, memory=None, batch=BATCH, key=0, weak=weak, strong=strong, shown=None):
    """(loss and gradient as one vector, logs, memory) of one batch in float64. shown: a list that is told the number
    of images that go through the network at once."""

    def loss_fn(params, memory, batch, key):
        def network(x):
            if shown is not None:
                shown.append(len(x))
            return of_linear(params)(x)

        learner = Learner(network, of_linear(AVERAGE), weak, strong, progress)
        loss, logs, memory = method.loss(learner, batch, key, memory)
        return loss, (logs, memory)

    with jax.enable_x64(True):
        memory = method.start(SIZES) if memory is None else memory
        found = quick(jax.value_and_grad(loss_fn, has_aux=True), PARAMS, memory, batch, key_of(key))
        (loss, (logs, memory)), gradient = jax.tree.map(np.asarray, found)
    return np.concatenate([[loss], gradient.ravel()]), logs, memory


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
