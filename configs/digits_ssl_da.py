"""100 labels of 1,437 digits, semi-supervised: a denoising-assisted classifier (Sastry et al. 2023) under a teacher.

    python -m scoressl_jax.main --config=configs/digits_ssl_da.py --workdir=runs/digits

--config.teacher.method=none is the paper's own, with pseudo-labels in place of the teacher's.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    recipes.digits_taught(config)
    return config
