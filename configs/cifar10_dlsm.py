"""CIFAR-10 with all labels, a noisy ResNet-18 trained by cross-entropy and DLSM.

Chao et al. 2022, "Denoising Likelihood Score Matching for Conditional Score-based Data Generation", table 2, as in the
released program where the two differ. The paper's figures: FID 2.25, IS 9.90, precision 0.65, recall 0.62, density
0.96, coverage 0.81, CAS 0.58 of 50,000 samples (cross-entropy alone: FID 4.10, IS 9.08, CAS 0.38).
The paper names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar10_dlsm.py --workdir=runs/cifar10_dlsm \
        --config.data.download=True --config.score.init_from=score_sde_torch:checkpoint.pth

checkpoint.pth is the score network of CIFAR-10 that the authors released. init_from also takes
run:runs/cifar10_score (cifar10_score.py); without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name = "cifar10"
    recipes.cifar10_score(config)
    recipes.dlsm(config, depth=18, steps=60_000, warmup=0)
    return config
