"""RealNVP (Dinh, Sohl-Dickstein and Bengio 2017) with a Gaussian for each class: exact log p(image, class).

In: `x [B, H, W, C]` in [0, 1], H and W divisible by 4. Out: `(logits [B, classes], features [B, H W C])`: logits are
log p(x, class), of x as one of 256 grey levels, so that softmax gives p(class | x) and logsumexp log p(x); features are
the latent points. Everything is squeezed before the first coupling, and nothing is factored out.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.models.convolution import Conv
from scoressl_jax.models.layers import channels_to_pixels, pixels_to_channels

SCALES = 2
SQUEEZED = 0.9  # into this share of (0, 1), where the logit is finite


def checkerboard(shape, parity):
    """`[H, W, 1]`, 1 where row + column has the parity."""
    return (np.indices(shape[:2]).sum(0) % 2 == parity)[..., None].astype(np.float32)


def half_of_channels(shape, parity):
    """`[1, 1, C]`, 1 in the first half of the channels, or the second."""
    return ((np.arange(shape[2]) >= shape[2] // 2) == parity)[None, None].astype(np.float32)


def logit(x):
    """logit(.05 + .9 x) of `[B, H, W, C]`, and the sum of the logarithms of its slope `[B]`."""
    y = (1 - SQUEEZED) / 2 + SQUEEZED * x
    slopes = np.log(SQUEEZED) - jnp.log(y) - jnp.log1p(-y)
    return jnp.log(y) - jnp.log1p(-y), slopes.sum((1, 2, 3))


def inverse_logit(x):
    return (jax.nn.sigmoid(x) - (1 - SQUEEZED) / 2) / SQUEEZED


class Coupling(nn.Module):
    """Moves and scales what the mask leaves out, by what it shows."""

    width: int
    mask: object  # (shape, parity) -> mask
    parity: int

    @nn.compact
    def __call__(self, x, inverse=False):
        """(image, log of the determinant `[B]`), or the image that it is of."""
        mask = self.mask(x.shape[1:], self.parity)
        h = nn.relu(Conv(self.width, (3, 3))(mask * x))
        h = nn.relu(Conv(self.width, (1, 1))(h))
        scale, shift = jnp.split(Conv(2 * x.shape[-1], (3, 3), kernel_init=nn.initializers.zeros)(h), 2, axis=-1)
        gain = self.param("gain", nn.initializers.ones, (x.shape[-1],))
        scale, shift = (1 - mask) * gain * jnp.tanh(scale), (1 - mask) * shift
        if inverse:
            return (x - shift) * jnp.exp(-scale)
        return x * jnp.exp(scale) + shift, scale.sum((1, 2, 3))


class Flow(nn.Module):
    """`couplings` of each mask at each of two scales. The means of the classes are fixed, Gaussian times `spread`."""

    num_classes: int
    width: int = 32
    couplings: int = 2
    spread: float = 1.0

    def setup(self):
        masks = [mask for mask in (checkerboard, half_of_channels) for _ in range(self.couplings)]
        self.scales = [[Coupling(self.width, mask, i % 2) for i, mask in enumerate(masks)] for _ in range(SCALES)]

    def __call__(self, x, key=None):
        """`key`: of the noise within a grey level; without one its middle is taken."""
        noise = 0.5 if key is None else jax.random.uniform(key, x.shape, x.dtype)
        z, volume = self.latent((255 * x + noise) / 256)
        return self.of_classes(z) + (volume - z.shape[1] * np.log(256))[:, None], z

    def latent(self, x):
        """(latent points `[B, D]`, log of the determinant `[B]`) of x in (0, 1)."""
        x, volume = logit(x)
        for couplings in self.scales:
            x = pixels_to_channels(x, 2)
            for coupling in couplings:
                x, more = coupling(x)
                volume = volume + more
        return x.reshape(len(x), -1), volume

    def image(self, z, shape):
        """The image, in (0, 1), of each latent point; `shape`: (H, W, C)."""
        height, width, channels = shape
        x = z.reshape(-1, height // 2**SCALES, width // 2**SCALES, channels * 4**SCALES)
        for couplings in self.scales[::-1]:
            for coupling in couplings[::-1]:
                x = coupling(x, inverse=True)
            x = channels_to_pixels(x, 2)
        return inverse_logit(x)

    def means(self, dimensions):
        return self.spread * jax.random.normal(jax.random.key(0), (self.num_classes, dimensions))

    def of_classes(self, z):
        """log p(z, class) `[B, classes]`; all classes are as likely."""
        means = self.means(z.shape[1])
        squares = (z**2).sum(1)[:, None] - 2 * z @ means.T + (means**2).sum(1)
        return -squares / 2 - z.shape[1] / 2 * np.log(2 * np.pi) - np.log(self.num_classes)
