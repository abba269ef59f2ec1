"""MNIST, positive-unlabelled: odd digits against even ones from 1,000 labelled odd digits and the class prior.

Sastry et al. 2023, section 4.1, table 4 (in Sastry et al. 2022, table 2). The paper's figure: 98.8 ± 0.05 % of test
images, 3 runs. The paper's hardware: a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/mnist_pu.py --workdir=runs/mnist_pu \
        --config.data.download=True --config.score.init_from=run:runs/mnist_score

init_from takes a run of mnist_score.py; without it the score network is trained first. Two CPU cores are enough for
--config.preset=cpu (meant for an hour) and fast (ten minutes), with small networks of ours; there init_from
takes a run of mnist_ssl_da.py at that preset. --config.data.class_prior=0 has the share of odd digits estimated.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.regime, config.data.name = "pu", "mnist"
    config.data.positive_classes, config.data.num_positive = (1, 3, 5, 7, 9), 1000
    config.data.class_prior = (30_508 - 1000) / (60_000 - 1000)  # 30,508 training images are odd
    recipes.choose(config, preset, {"paper": paper, "cpu": cpu, "fast": fast})
    return config


def paper(config):
    recipes.mnist_score(config)
    recipes.denoising_assisted(config, steps=100_000)
    config.classifier.terms.prior = 1.0  # not stated


def cpu(config):
    recipes.mnist_cpu(config)
    config.classifier.steps = 6000
    config.classifier.terms.prior = 3.0  # docs/experiments.md


def fast(config):
    recipes.mnist_fast(config)
    config.classifier.terms.prior = 3.0
