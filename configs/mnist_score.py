"""MNIST, the score network: NCSN++ with three levels, 43,984,385 parameters.

Sastry et al. 2022 and 2023, section 4: "a 62.8M parameter network", which has four levels and so does not fit 28x28
images, halved twice at most; how theirs were made to fit is not stated. Three levels with attention at 14 are our
choice. They give no figure for it. The second names a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/mnist_score.py --workdir=runs/mnist_score \
        --config.data.download=True --mode=train_score

The other configs of MNIST take it with --config.score.init_from=run:runs/mnist_score.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name = "mnist"
    recipes.mnist_score(config)
    return config
