"""The same 100 labels as Score-SSL has it: noisy classifier, DLSM, denoising and temporal consistency.

    python -m scoressl_jax.main --config=configs/digits_ssl.py --workdir=runs/digits_ssl
"""

from scoressl_jax.experiment.config import default_config


def get_config():
    config = default_config()
    classifier = config.classifier
    classifier.kind, classifier.norm = "noisy", "instance++"
    classifier.terms.update(ce_tau=0.0, dlsm=1.0, pseudo_dlsm=1.0, denoising=1.0)
    classifier.temporal_delta, classifier.temporal_time = 0.01, "same"
    classifier.weight_decay = 5e-4
    return config
