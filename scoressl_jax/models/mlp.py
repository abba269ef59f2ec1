"""Small fully connected networks with the interfaces of NCSNpp and WideResNet; images are flattened."""

import flax.linen as nn
import jax.numpy as jnp

from scoressl_jax.models.layers import NoiseEmbedding


def hidden_layers(widths, x, log_sigma, embedding):
    h = jnp.concatenate([x.reshape(x.shape[0], -1), NoiseEmbedding(embedding, scale=1.0)(log_sigma)], axis=-1)
    for width in widths:
        h = nn.swish(nn.Dense(width)(h))
    return h


class MLP(nn.Module):
    """Body of a score network: `x [B, ...]`, `log_sigma [B]` -> like x."""

    widths: tuple = (256, 256)
    embedding: int = 16

    @nn.compact
    def __call__(self, x, log_sigma, train=False):
        h = hidden_layers(self.widths, x, log_sigma, self.embedding)
        return nn.Dense(x[0].size)(h).reshape(x.shape)


class MLPClassifier(nn.Module):
    """Noise-conditional classifier: `(logits [B, classes], features [B, widths[-1]])`."""

    num_classes: int
    widths: tuple = (256, 256)
    denoised_input: bool = False
    embedding: int = 16

    @nn.compact
    def __call__(self, x, log_sigma, x_hat=None):
        if self.denoised_input != (x_hat is not None):
            raise ValueError("x_hat is given exactly when denoised_input is set")
        x = x / jnp.sqrt(1 + jnp.exp(2 * log_sigma)).reshape((-1,) + (1,) * (x.ndim - 1))
        inputs = jnp.stack([x, x_hat], axis=-1) if self.denoised_input else x
        features = hidden_layers(self.widths, inputs, log_sigma, self.embedding)
        return nn.Dense(self.num_classes)(features), features
