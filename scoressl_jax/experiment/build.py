"""A config -> what every stage shares: the data, the process, the networks. Loads nothing where a run tells enough."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp

from scoressl_jax import guidance
from scoressl_jax.data.dataset import Dataset
from scoressl_jax.data.splits import Split
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import config_of_run, validate
from scoressl_jax.experiment.data import Prepared, prepare
from scoressl_jax.experiment.networks import ASSISTED, build_classifier_network, build_score_network, check_size
from scoressl_jax.experiment.process import build_sde
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.samplers import check_classes
from scoressl_jax.weights.inception import read_arrays


@dataclass(frozen=True)
class Experiment:
    """`load` gives the data when a stage first asks for them."""

    config: object
    class_names: tuple
    image_shape: tuple
    load: Callable[[], Prepared] = field(repr=False)

    @cached_property
    def prepared(self) -> Prepared:
        return self.load()

    @property
    def dataset(self) -> Dataset:
        return self.prepared.dataset

    @property
    def split(self) -> Split:
        return self.prepared.split

    @property
    def y_visible(self):
        return self.prepared.y_visible

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def sde(self):
        return build_sde(self.config)

    @cached_property
    def score_network(self):
        return build_score_network(self.config)

    @cached_property
    def classifier_network(self):
        return build_classifier_network(self.config, self.num_classes)

    @property
    def assisted(self) -> bool:
        return self.config.classifier.kind == ASSISTED

    def score_fn(self, params) -> Callable:
        return guidance.make_score_fn(self.sde, lambda x, s: self.score_network.apply(params, x, s))

    def classifier_fn(self, params, score_fn) -> Callable:
        network = lambda *inputs: self.classifier_network.apply(params, *inputs)  # noqa: E731
        return guidance.make_classifier_fn(self.sde, network, score_fn if self.assisted else None)

    def example_inputs(self) -> tuple:
        """(image, log sigma) of two, to initialise networks with."""
        return jnp.zeros((2, *self.image_shape)), jnp.zeros(2)


def build(config, known: dict | None = None) -> Experiment:
    """Check the config, load the data, and check that both fit. Raises UserError. `known` as in `validate`."""
    validate(config, known)
    prepared = prepare(config)
    data = prepared.dataset
    check_size(config, *data.image_shape[:2], judge_patch=config.evaluation.judge_patch, known=known)
    if config.evaluation.features == "inception":
        read_arrays(config.evaluation.inception_weights)  # what cannot be read is found before anything is trained
    check_classes(config.sampling, data.class_names)
    return Experiment(config, tuple(data.class_names), tuple(data.image_shape), lambda: prepared)


def open_experiment(run: Run, config=None) -> Experiment:
    """What a run's own files tell, without its data; they are loaded if a stage asks for them. `config` is checked, and
    takes the place of the run's own."""
    facts = run.data
    if config is None:
        config = config_of_run(run)
    else:
        validate(config, run.config)
    if "class_names" not in facts or "image_shape" not in facts:
        raise UserError(
            f"{run.workdir} does not say which images it was made with: go on with it once, where its data are "
            f"(python -m scoressl_jax.main --workdir={run.workdir})"
        )
    check_classes(config.sampling, tuple(facts["class_names"]))
    return Experiment(config, tuple(facts["class_names"]), tuple(facts["image_shape"]), lambda: prepare(config))
