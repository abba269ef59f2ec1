"""MNIST with all labels, a noisy classifier: what mnist_da.py is measured against.

Sastry et al. 2023 compare the two on CIFAR-10 (cifar10_noisy.py, cifar10_da.py); for MNIST they give no figure of it.
Their hardware: a Tesla T4; a GPU or TPU is needed, or two CPU cores for --config.preset=cpu.

    python -m scoressl_jax.main --config=configs/mnist_noisy.py --workdir=runs/mnist_noisy \
        --config.data.download=True --config.score.init_from=run:runs/mnist_score

init_from takes a run of mnist_score.py; without it the score network is trained first. With --config.preset=cpu it
takes one of mnist_ssl_da.py at that preset.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name = "mnist"
    recipes.mnist_all_labels(config, preset, "noisy")
    return config
