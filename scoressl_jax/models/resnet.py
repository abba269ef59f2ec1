"""Noise-conditional ResNet-18 and ResNet-34, the classifiers of DLSM (Chao et al. 2022): the CIFAR form of He et al.,
told the noise level after each stage.

In and out as in wide_resnet.py. Two things differ from the released network: batch normalisation, which makes one
image's gradient depend on the others and needs running averages, is GroupNorm or InstanceNorm++ (as many parameters),
and each input image is standardised by itself.
"""

import flax.linen as nn

from scoressl_jax.models.convolution import Conv
from scoressl_jax.models.layers import NoiseEmbedding, at_least_float32
from scoressl_jax.models.wide_resnet import conv3x3, conv_init, head_init, normalize, stem

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    features: int
    stride: int
    norm: str
    dtype: object = None

    @nn.compact
    def __call__(self, x):
        h = nn.relu(normalize(self.norm, conv3x3(self.features, self.stride, self.dtype)(x)))
        h = normalize(self.norm, conv3x3(self.features, dtype=self.dtype)(h))
        if self.stride > 1 or x.shape[-1] != self.features:
            shortcut = Conv(
                self.features, (1, 1), strides=self.stride, use_bias=False, kernel_init=conv_init, dtype=self.dtype
            )
            x = normalize(self.norm, shortcut(x))
        return nn.relu(x + h)


class ResNet(nn.Module):
    """ResNet-`depth`: four stages of `width` to 8 `width` channels at strides 1, 2, 2, 2; features `[B, 8 width]`."""

    num_classes: int
    depth: int = 18
    width: int = 64
    norm: str = "group"
    denoised_input: bool = False
    embedding: int = 32
    dtype: object = None  # jnp.bfloat16 computes in it; parameters, normalisation, pooling and head stay in float32
    patch: int = 1  # as of WideResNet

    @nn.compact
    def __call__(self, x, log_sigma, x_hat=None):
        embedding = nn.swish(NoiseEmbedding(self.embedding)(log_sigma))
        h = nn.relu(normalize(self.norm, stem(self.width, self.denoised_input, x, x_hat, self.dtype, self.patch)))
        for stage, blocks in enumerate(STAGES[self.depth]):
            features = self.width * 2**stage
            for i in range(blocks):
                h = BasicBlock(features, 2 if stage and i == 0 else 1, self.norm, self.dtype)(h)
            h = h + nn.Dense(features, dtype=self.dtype)(embedding)[:, None, None]
        features = at_least_float32(h).mean((1, 2))
        return nn.Dense(self.num_classes, kernel_init=head_init)(features), features
