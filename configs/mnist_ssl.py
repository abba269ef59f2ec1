"""MNIST with 1,000 labels, Score-SSL: noisy classifier, DLSM, denoising and temporal consistency.

Sastry et al. 2022, "Semi-Supervised Training of Conditional Score Models", table 1. The paper's figure: 99.1 % of test
images, mean of 3 runs. It names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/mnist_ssl.py --workdir=runs/mnist_ssl \
        --config.data.download=True --config.score.init_from=run:runs/mnist_score

init_from takes a run of mnist_score.py; without it the score network is trained first. Two CPU cores are enough for
--config.preset=cpu (about an hour) and fast (ten minutes), with small networks of ours.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name, config.data.num_labels = "mnist", 1000
    recipes.choose(config, preset, {"paper": paper, "cpu": cpu, "fast": fast})
    return config


def paper(config):
    recipes.mnist_score(config)
    recipes.score_ssl(config, steps=48_000)


def cpu(config):
    recipes.mnist_cpu(config)
    recipes.small_score_ssl(config, steps=4000)


def fast(config):
    recipes.mnist_fast(config)
    recipes.small_score_ssl(config, steps=800)
