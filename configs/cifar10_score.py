"""CIFAR-10, the score network: NCSN++ continuous, deep, variance-exploding, 107,587,075 parameters.

Song et al. 2021, table 3 (NCSN++ cont., deep, VE), in the released program's configuration. The paper's figures: FID
2.20, IS 9.89, after the step with the best FID. The program names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar10_score.py --workdir=runs/cifar10_score \
        --config.data.download=True --mode=train_score

The other configs of CIFAR-10 take it with --config.score.init_from=run:runs/cifar10_score.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name = "cifar10"
    recipes.cifar10_score(config)
    return config
