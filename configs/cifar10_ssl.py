"""CIFAR-10 with 4,000 labels, Score-SSL: noisy classifier, DLSM, denoising and temporal consistency.

Sastry et al. 2022, "Semi-Supervised Training of Conditional Score Models", table 1. The paper's figure: 87.3 % of test
images, mean of 3 runs. It names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar10_ssl.py --workdir=runs/cifar10_ssl \
        --config.data.download=True --config.score.init_from=score_sde_flax:checkpoint_12

checkpoint_12 is the released one of cifar10_ncsnpp_deep_continuous, as in the paper. init_from also takes
score_sde_torch:FILE.pth or run:runs/cifar10_score (cifar10_score.py); without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name, config.data.num_labels = "cifar10", 4000
    recipes.cifar10_score(config)
    recipes.score_ssl(config, steps=200_000)
    # The paper lowers the rate to 2e-4 from step 130,000 on; a cosine, 2.7e-4 there, is the nearest schedule.
    config.classifier.update(schedule="cosine", random_flip=True)  # flips are not stated
    recipes.judge(config, steps=20_000, depth=28)
    return config
