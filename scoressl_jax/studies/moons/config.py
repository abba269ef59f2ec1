"""Every field of the two-moons study with its default (our preset), and which values are allowed."""

from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import (
    AT_LEAST_TWO,
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    Field,
    check_devices,
    check_order,
    check_values,
    config_from,
    one_of,
)
from scoressl_jax.experiment.training import SCHEDULES, loop_fields

LOSSES = ("ce", "dlsm", "dlsm_ce")  # of the classifiers


def trained(**defaults) -> dict:
    """Fields of both stages that are trained, with a stage's own defaults."""
    declared = dict(
        network=Field("scaled", "scaled is ours, published the released program's", one_of("scaled", "published")),
        power=Field(1.0, "the loss is weighted by sigma^(2 power)"),
        batch_size=Field(1000, "points a step, of each network", POSITIVE, per_device=True),
        steps=Field(2500, "updates", POSITIVE),
        warmup=Field(100, "updates over which the learning rate rises", NOT_NEGATIVE),
        schedule=Field("cosine", "of the learning rate after the warm-up", one_of(*SCHEDULES)),
        ema=Field(0.999, "decay of the average of the weights", BELOW_ONE),
        times=Field("stratified", "how a batch's noise levels are drawn", one_of("stratified", "uniform")),
        focus=Field(0.6, "share of the noise levels that lies in sde.focus; 0 is none", BELOW_ONE),
    )
    return {
        name: Field(defaults.get(name, field.default), field.meaning, field.allowed, field.per_device)
        for name, field in declared.items()
    }


FIELDS = dict(
    seed=Field(0, "of training, sampling and measuring", NOT_NEGATIVE),
    preset=Field("default", "default is ours, faithful the released program's experiment"),
    data=dict(name=Field("moons", "the two moons")),
    sde=dict(
        sigma_min=Field(0.05, "lowest noise level", POSITIVE),
        sigma_max=Field(50.0, "highest noise level"),
        focus=Field((3.0, 20.0), "noise levels of which training sees more than their share"),
    ),
    score=dict(
        **trained(power=1.25),
        learning_rate=Field(1e-2, "of Adam", POSITIVE),
    ),
    classifier=dict(
        **trained(power=2.0, batch_size=500, steps=2200, ema=0.998, focus=0.85),
        ce_weight=Field(0.125, "of CE in dlsm_ce", NOT_NEGATIVE),
        runs=Field(5, "classifiers of each loss, for the spread of the curves; the first is measured", POSITIVE),
        learning_rate={loss: Field(1e-2, f"of Adam, loss {loss}", POSITIVE) for loss in LOSSES},
    ),
    sampling=dict(
        count=Field(2000, "of each class, by each method and each sampler", POSITIVE, per_device=True),
        langevin_steps=Field(1000, "steps of Langevin dynamics", POSITIVE),
        langevin_step=Field(3.5, "their size", POSITIVE),
        langevin_rule=Field(
            "unadjusted",
            "unadjusted: at one sigma; published: the released program's, at rising sigma",
            one_of("unadjusted", "published"),
        ),
        reverse_steps=Field(300, "steps of the reverse SDE", AT_LEAST_TWO),
    ),
    evaluation=dict(
        sigma=Field(7.5, "noise level of score errors and of Langevin sampling"),
        scale=Field(10.0, "alpha of the scaling method"),
        neighbours=Field(5, "k of precision, recall, density, coverage", POSITIVE),
    ),
    training=loop_fields(steps_per_call=100, checkpoint_every=1000),
)


def default_config() -> ConfigDict:
    """Ours: the networks, losses and schedule that measure best in minutes on two cores."""
    return config_from(FIELDS)


def validate(config: ConfigDict) -> None:
    """Names and ranges; each failure is one UserError."""
    check_values(config, FIELDS)
    check_order(
        config,
        ("sde.sigma_min", "evaluation.sigma"),
        ("evaluation.sigma", "sde.sigma_max"),
        ("evaluation.neighbours", "sampling.count"),
    )
    if len(config.sde.focus) != 2:
        raise UserError(f"config.sde.focus is {tuple(config.sde.focus)}: give two noise levels, (low, high)")
    low, high = config.sde.focus
    if not config.sde.sigma_min <= low < high <= config.sde.sigma_max:
        raise UserError(f"config.sde.focus is {(low, high)}: it must rise, within sigma_min and sigma_max")
    check_devices(config, FIELDS)
