"""MNIST with all labels, a denoising-assisted classifier: against mnist_noisy.py, what denoising assistance buys.

Sastry et al. 2023 compare the two on CIFAR-10 (cifar10_da.py) and give 99.3 % of clean test images for this one
(table 3). Their hardware: a Tesla T4; a GPU or TPU is needed, or two CPU cores for --config.preset=cpu.

    python -m scoressl_jax.main --config=configs/mnist_da.py --workdir=runs/mnist_da \
        --config.data.download=True --config.score.init_from=run:runs/mnist_score

init_from takes a run of mnist_score.py; without it the score network is trained first. With --config.preset=cpu it
takes one of mnist_ssl_da.py at that preset.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name = "mnist"
    recipes.mnist_all_labels(config, preset, "denoising_assisted")
    return config
