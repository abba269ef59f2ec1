"""CIFAR-10 with 4,000 labels, semi-supervised, with a denoising-assisted classifier.

Sastry et al. 2023, "Training Diffusion Classifiers with Denoising Assistance", table 3. The paper's figure:
86.2 ± 0.2 % of test images, mean of 3 runs (93.1 % with all labels). Its hardware: an A40; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar10_ssl_da.py --workdir=runs/cifar10_ssl_da \
        --config.data.download=True --config.score.init_from=score_sde_flax:checkpoint_12

checkpoint_12 is the released one of cifar10_ncsnpp_deep_continuous, as in the paper. init_from also takes
score_sde_torch:FILE.pth or run:runs/cifar10_score (cifar10_score.py); without it the score network is trained first.

Two CPU cores are enough for --config.preset=cpu (about an hour), fast (eight minutes) and taught (twenty, with a
teacher): small networks of ours, far from the paper's figures.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name, config.data.num_labels = "cifar10", 4000
    small = {"cpu": recipes.cifar10_cpu, "fast": recipes.cifar10_fast, "taught": recipes.cifar10_taught}
    recipes.choose(config, preset, {"paper": paper, **small})
    return config


def paper(config):
    recipes.cifar10_score(config)
    recipes.denoising_assisted(config, steps=200_000)
    config.classifier.random_flip = True  # not stated
    recipes.judge(config, steps=20_000, depth=28)
