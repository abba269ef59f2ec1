"""Positive-unlabelled: 100 labelled odd digits, the rest unlabelled, the share of odd digits in it given.

    python -m scoressl_jax.main --config=configs/digits_pu.py --workdir=runs/digits_pu
"""

from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.regime = "pu"
    data = config.data
    data.positive_classes, data.num_positive = (1, 3, 5, 7, 9), 100
    data.class_prior = 0.467  # (724 - 100) / (1437 - 100)
    config.classifier.terms.prior = 1.0
    return config
