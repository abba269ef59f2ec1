"""MNIST with 1,000 labels, semi-supervised, with a denoising-assisted classifier.

Sastry et al. 2023, "Training Diffusion Classifiers with Denoising Assistance", table 3. The paper's figure:
99.1 ± 0.2 % of test images, mean of 3 runs (99.3 % with all labels). Its hardware: a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/mnist_ssl_da.py --workdir=runs/mnist_ssl_da \
        --config.data.download=True --config.score.init_from=run:runs/mnist_score

init_from takes a run of mnist_score.py; without it the score network is trained first. Two CPU cores are enough for
--config.preset=cpu (about an hour), fast (ten minutes) and taught (fifteen, with a teacher), with small networks of
ours.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name, config.data.num_labels = "mnist", 1000
    small = {"cpu": recipes.mnist_cpu, "fast": recipes.mnist_fast, "taught": recipes.mnist_taught}
    recipes.choose(config, preset, {"paper": paper, **small})
    return config


def paper(config):
    recipes.mnist_score(config)
    recipes.denoising_assisted(config, steps=100_000)
