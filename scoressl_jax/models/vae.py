"""Semi-supervised variational autoencoders (Kingma, Rezende, Mohamed and Welling 2014): M2, and M2 above M1.

In: `x [B, H, W, C]` in [0, 1]. Out: `(logits [B, classes] of q(y | x), features [B, F])`: features are what M2 sees,
the pixels themselves or the mean of M1's latent variable. Pixels are Bernoulli, M1's latent variable is Gaussian.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class Hidden(nn.Module):
    """softplus layers of a width, then a linear one."""

    width: int
    layers: int
    outputs: int

    @nn.compact
    def __call__(self, *inputs):
        h = jnp.concatenate(inputs, axis=-1)
        for _ in range(self.layers):
            h = nn.softplus(nn.Dense(self.width)(h))
        return nn.Dense(self.outputs)(h)


def gaussian(parameters):
    """(mean, standard deviation) of what a network puts out."""
    mean, log_variance = jnp.split(parameters, 2, axis=-1)
    return mean, jnp.exp(log_variance / 2)


def log_normal(x, mean, std):
    return -(((x - mean) / std) ** 2 / 2 + jnp.log(std) + np.log(2 * np.pi) / 2).sum(-1)


def divergence(mean, std):
    """KL(N(mean, std^2) || N(0, 1)), summed over the last axis."""
    return (mean**2 + std**2 - 1).sum(-1) / 2 - jnp.log(std).sum(-1)


def log_bernoulli(x, logits):
    return (x * logits - nn.softplus(logits)).sum(-1)


class SemiSupervisedVAE(nn.Module):
    num_classes: int
    pixels: int
    stacked: bool = False
    width: int = 500
    latent: int = 50

    def setup(self):
        seen = self.latent if self.stacked else self.pixels
        if self.stacked:
            self.first_encoder = Hidden(self.width, 2, 2 * self.latent)
            self.first_decoder = Hidden(self.width, 2, self.pixels)
        self.classifier = Hidden(self.width, 1, self.num_classes)
        self.encoder = Hidden(self.width, 1, 2 * self.latent)
        self.decoder = Hidden(self.width, 1, 2 * seen if self.stacked else seen)

    def __call__(self, x):
        h = self.seen(x)
        if self.is_initializing():
            self.bounds(h, jax.random.key(0))
            if self.stacked:
                self.first_bound(x, jax.random.key(0))
        return self.classifier(h), h

    def seen(self, x, key=None):
        """What M2 is given: pixels `[B, D]`, or M1's latent variable, drawn with the key, else its mean."""
        x = x.reshape(len(x), -1)
        if not self.stacked:
            return x
        mean, std = gaussian(self.first_encoder(x))
        return mean if key is None else mean + std * jax.random.normal(key, std.shape)

    def first_bound(self, x, key):
        """M1's lower bound of log p(x), `[B]`."""
        x = x.reshape(len(x), -1)
        mean, std = gaussian(self.first_encoder(x))
        z = mean + std * jax.random.normal(key, std.shape)
        return log_bernoulli(x, self.first_decoder(z)) - divergence(mean, std)

    def bounds(self, h, key):
        """M2's lower bound of log p(h, y) for each class y, `[B, classes]`; all classes are as likely."""
        keys = jax.random.split(key, self.num_classes)
        return jnp.stack([self.bound(h, y, k) for y, k in enumerate(keys)], axis=1)

    def bound(self, h, y, key):
        one_hot = jnp.broadcast_to(jax.nn.one_hot(y, self.num_classes, dtype=h.dtype), (len(h), self.num_classes))
        mean, std = self.posterior(h, one_hot)
        z = mean + std * jax.random.normal(key, std.shape)
        return self.likelihood(h, one_hot, z) - divergence(mean, std) - np.log(self.num_classes)

    def posterior(self, h, one_hot):
        """(mean, standard deviation) of q(z | h, y)."""
        return gaussian(self.encoder(h, one_hot))

    def likelihood(self, h, one_hot, z):
        """log p(h | y, z)."""
        found = self.decoder(one_hot, z)
        return log_normal(h, *gaussian(found)) if self.stacked else log_bernoulli(h, found)

    def everything(self, x, key):
        """{"logits" [B, classes], "bounds" [B, classes], "first" [B]}, all that a loss of M2, or of M1 and M2, needs.
        M2 sees a sample of M1's latent variable, through which no gradient flows."""
        key_seen, key_bounds, key_first = jax.random.split(key, 3)
        h = jax.lax.stop_gradient(self.seen(x, key_seen))
        found = {"logits": self.classifier(h), "bounds": self.bounds(h, key_bounds)}
        return found | ({"first": self.first_bound(x, key_first)} if self.stacked else {})
