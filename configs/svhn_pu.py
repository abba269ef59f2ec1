"""SVHN, positive-unlabelled: one digit against the other nine from 500 labelled images and the class prior.

Sastry et al. 2023, section 4.1, figure 7 (in Sastry et al. 2022, figure 2): F1 score from 100 and from 500 labels, mean
over 10 models, shown as a graph without numbers. The paper's hardware: a Tesla T4; a GPU or TPU is needed.

    python -m scoressl_jax.main --config=configs/svhn_pu.py --workdir=runs/svhn_pu \
        --config.data.download=True --config.score.init_from=run:runs/svhn_score

init_from takes a run of svhn_score.py; without it the score network is trained first.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config

COUNTS = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)  # training images of each digit
POSITIVE, LABELS = 1, 500  # the paper takes each digit in turn


def get_config():
    config = default_config()
    config.regime, config.data.name = "pu", "svhn_cropped"
    config.data.positive_classes, config.data.num_positive = (POSITIVE,), LABELS
    config.data.class_prior = (COUNTS[POSITIVE] - LABELS) / (sum(COUNTS) - LABELS)
    recipes.svhn_score(config)
    recipes.denoising_assisted(config, steps=100_000)
    config.classifier.terms.prior = 1.0
    return config
