"""100 labels of 1,437 digits, semi-supervised, with a denoising-assisted classifier (Sastry et al. 2023).

    python -m scoressl_jax.main --config=configs/digits_ssl_da.py --workdir=runs/digits
"""

from scoressl_jax.experiment.config import default_config


def get_config():
    return default_config()
