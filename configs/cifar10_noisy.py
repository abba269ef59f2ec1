"""CIFAR-10 with all labels, a noisy classifier, to compare with cifar10_da.py.

Sastry et al. 2023, section 3, tables 1 and 2. The paper's figures: 54.79 % of test images diffused to random times
(t uniform); FID 4.31, IS 9.04, precision 0.67, recall 0.61 of 50,000 samples.
The paper's hardware: an A40 (two for the samples); a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar10_noisy.py --workdir=runs/cifar10_noisy \
        --config.data.download=True --config.score.init_from=score_sde_flax:checkpoint_12

checkpoint_12 is the released one of cifar10_ncsnpp_deep_continuous, as in the paper. init_from also takes
score_sde_torch:FILE.pth or run:runs/cifar10_score (cifar10_score.py); without it the score network is trained first.

Two CPU cores are enough for --config.preset=cpu: small networks of ours, about an hour, far from the paper's figures.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config(preset="paper"):
    config = default_config()
    config.data.name = "cifar10"
    recipes.cifar10_all_labels(config, preset, "noisy")
    return config
