"""Fields that every trained stage has, and the optimiser that they make."""

from scoressl_jax.experiment.fields import BELOW_ONE, NOT_NEGATIVE, POSITIVE, Field, one_of
from scoressl_jax.training.state import make_optimizer

SCHEDULES = ("constant", "cosine", "cosine_7_16")  # the last is FixMatch's: the rate ends at a fifth of what it was
OPTIMIZERS = ("adamw", "sgd")


def loop_fields(steps_per_call: int = 20, checkpoint_every: int = 100) -> dict:
    """The block `training`: these three never change a result."""
    return dict(
        steps_per_call=Field(steps_per_call, "updates in one compiled call", POSITIVE, free=True),
        checkpoint_every=Field(checkpoint_every, "updates between two checkpoints", POSITIVE, free=True),
        max_rollbacks=Field(
            0, "how often training that diverged goes back to its last checkpoint", NOT_NEGATIVE, free=True
        ),
    )


def fields(**defaults) -> dict:
    """The fields of a stage that is trained, with the stage's own defaults."""
    declared = dict(
        batch_size=Field(64, "images a step; classifier: labelled ones", POSITIVE, per_device=True),
        steps=Field(1000, "updates", POSITIVE),
        optimizer=Field("adamw", "adamw, or sgd with Nesterov momentum .9", one_of(*OPTIMIZERS)),
        learning_rate=Field(1e-3, "of the optimiser", POSITIVE),
        weight_decay=Field(0.0, "of the optimiser", NOT_NEGATIVE),
        warmup=Field(50, "updates over which the learning rate rises", NOT_NEGATIVE),
        clip=Field(1.0, "global norm that gradients are cut to", POSITIVE),
        schedule=Field("cosine", "of the learning rate after the warm-up", one_of(*SCHEDULES)),
        ema=Field(0.99, "decay of the average of the weights, which is what everything uses", BELOW_ONE),
        times=Field("stratified", "how a batch's noise levels are drawn", one_of("stratified", "uniform")),
    )
    return {
        name: Field(defaults.get(name, field.default), field.meaning, field.allowed, field.per_device)
        for name, field in declared.items()
    }


def optimizer_of(stage):
    """The optimiser of a stage; `stage` has the fields above."""
    return make_optimizer(
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        warmup=stage.warmup,
        clip=stage.clip,
        schedule=stage.schedule,
        steps=stage.steps,
        optimizer=stage.optimizer,
    )
