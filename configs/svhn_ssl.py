"""SVHN with 1,000 labels, Score-SSL: noisy classifier, DLSM, denoising and temporal consistency.

Sastry et al. 2022, "Semi-Supervised Training of Conditional Score Models", table 1. The paper's figure: 96.2 % of test
images, mean of 3 runs. It names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/svhn_ssl.py --workdir=runs/svhn_ssl \
        --config.data.download=True --config.score.init_from=run:runs/svhn_score

init_from takes a run of svhn_score.py; without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name, config.data.num_labels = "svhn_cropped", 1000
    recipes.svhn_score(config)
    recipes.score_ssl(config, steps=48_000)
    return config
