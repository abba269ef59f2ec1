"""SVHN (73,257 images, without the extra ones), the score network: NCSN++ of 62,758,915 parameters.

Sastry et al. 2022 and 2023, section 4: "a 62.8M parameter network", which is NCSN++ continuous with 4 blocks a level.
They give no figure for it. The second names a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/svhn_score.py --workdir=runs/svhn_score \
        --config.data.download=True --mode=train_score

The other configs of SVHN take it with --config.score.init_from=run:runs/svhn_score.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name = "svhn_cropped"
    recipes.svhn_score(config)
    return config
