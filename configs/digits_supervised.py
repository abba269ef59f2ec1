"""The same 100 labels and nothing else for the classifier: a noisy classifier trained by cross-entropy.

    python -m scoressl_jax.main --config=configs/digits_supervised.py --workdir=runs/digits_supervised
"""

from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    config.regime = "supervised"
    config.classifier.kind = "noisy"
    config.classifier.terms.update(pseudo=0.0, temporal=0.0)
    return config
