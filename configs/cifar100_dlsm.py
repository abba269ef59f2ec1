"""CIFAR-100 with all labels, a noisy ResNet-34 trained by cross-entropy and DLSM.

Chao et al. 2022, "Denoising Likelihood Score Matching for Conditional Score-based Data Generation", table 2, as in the
released program where the two differ. The paper's figures: FID 3.86, IS 11.62, precision 0.61, recall 0.63, density
0.82, coverage 0.71, CAS 0.28 of 50,000 samples (cross-entropy alone: FID 4.52, IS 11.53, CAS 0.15).
The paper names no hardware; at this size a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/cifar100_dlsm.py --workdir=runs/cifar100_dlsm \
        --config.data.download=True --config.score.init_from=score_sde_torch:checkpoint.pth

checkpoint.pth is the score network of CIFAR-100 that the authors released. init_from also takes
run:DIR (a run of ours); without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.data.name = "cifar100"
    recipes.cifar10_score(config)
    # Released warm-up of 1,000 steps: there a fault keeps its rate at 0; here it is the one that was meant.
    recipes.dlsm(config, depth=34, steps=60_001, warmup=1000)
    return config
