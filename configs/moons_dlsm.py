"""Two moons: score mismatch of a classifier trained with cross-entropy, and DLSM curing it (Chao et al. 2022, fig. 1,
table 1, table A3, fig. 5).

    python -m scoressl_jax.main --config=configs/moons_dlsm.py --workdir=runs/moons

Two and a half minutes on two cores; over three seeds DLSM + CE has D_P 0.017 and 0.018, D_L 0.014 and 0.015 (upper and
lower class, exact oracle), cross-entropy 0.033 and 0.032. --config.preset=faithful is the released program's
experiment: its data, networks, losses, weightings, learning rates, batch and 40,002 updates, an hour or more.
"""

from scoressl_jax.experiment import recipes
from scoressl_jax.studies.moons.config import default_config


def get_config(preset="default"):
    config = default_config()
    recipes.choose(config, preset, {"default": lambda config: None, "faithful": faithful})
    return config


def faithful(config):
    config.sde.sigma_min, config.sde.sigma_max, config.sde.focus = 1e-3, 10.0, (1e-3, 10.0)
    for stage in (config.score, config.classifier):
        stage.network, stage.power = "published", 2.0
        stage.batch_size, stage.steps = 4000, 40_002
        stage.schedule, stage.warmup, stage.ema, stage.times, stage.focus = "constant", 0, 0.0, "uniform", 0.0
    config.score.learning_rate = 6.5e-4
    # The released configs; the paper says 2e-5 for all.
    config.classifier.learning_rate.update(ce=1e-5, dlsm=2e-5, dlsm_ce=1e-5)
    config.classifier.ce_weight, config.classifier.runs = 0.125, 1
    config.training.checkpoint_every = 2000
