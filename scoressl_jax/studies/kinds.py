"""Which kind of study a config is of."""

from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.stages import Kind
from scoressl_jax.studies.moons.study import MOONS


def kind_of(config) -> Kind:
    """The kind of a config, or of a run's nested dicts."""
    return MOONS if config.get("data", {}).get("name") == "moons" else IMAGES
