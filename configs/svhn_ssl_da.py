"""SVHN with 1,000 labels, semi-supervised, with a denoising-assisted classifier.

Sastry et al. 2023, "Training Diffusion Classifiers with Denoising Assistance", table 3. The paper's figure:
96.2 ± 0.3 % of test images, mean of 3 runs (97.5 % with all labels). Its hardware: a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/svhn_ssl_da.py --workdir=runs/svhn_ssl_da \
        --config.data.download=True --config.score.init_from=run:runs/svhn_score

init_from takes a run of svhn_score.py; without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name, config.data.num_labels = "svhn_cropped", 1000
    recipes.svhn_score(config)
    recipes.denoising_assisted(config, steps=100_000)
    return config
