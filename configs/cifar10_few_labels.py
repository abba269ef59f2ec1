"""CIFAR-10 with 4,000 labels: methods for few labels with the hyperparameters of their papers, a preset each.

Presets are supervised, pi_model, pseudo_label, mean_teacher, mixmatch, fixmatch and laplacenet. The figures that Sastry
et al. 2022 compare with: Pi-model 86.0, pseudo-labels 83.9, Mean Teacher 90.8, MixMatch 93.6, FixMatch 95.7 % of test
images. They take a GPU or TPU: a million steps of a WRN-28-2.

    python -m scoressl_jax.main --config=configs/cifar10_few_labels.py --workdir=runs/cifar10_few_labels \
        --mode=train_teacher --config.data.download=True
"""

from functools import partial

from scoressl_jax.experiment import recipes
from scoressl_jax.experiment.config import default_config
from scoressl_jax.methods.table import METHODS


def get_config(preset="supervised"):
    config = default_config()
    config.data.name, config.data.num_labels = "cifar10", 4000
    of_images = [name for name, method in METHODS.items() if not hasattr(method, "network")]
    recipes.choose(config, preset, {name: partial(recipes.paper_teacher, method=name) for name in of_images})
    return config
