"""The experiments in configs/: every stage of each takes a step, and no field that its file sets is idle.

Stages run as execute runs them, on networks and images shrunk to almost nothing. Training is one real step, compiled
once for all experiments that agree in what it depends on; sampling is traced, and evaluation gets made-up predictions.
"""

import dataclasses
import functools
import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiments import EXPERIMENTS, SETS, command_of, images
from ml_collections import ConfigDict
from small import QUICK

from scoressl_jax.commands.run import load_config
from scoressl_jax.data import digits, folder, tfds
from scoressl_jax.experiment import build, choice, class_prior, drawing, measure
from scoressl_jax.experiment import images as stages_of_images
from scoressl_jax.experiment.config import default_config, validate
from scoressl_jax.experiment.fields import get
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work, execute
from scoressl_jax.experiment.teacher import ALL_METHODS, PU_METHODS
from scoressl_jax.files import flat
from scoressl_jax.metrics import classification, likelihood
from scoressl_jax.models import resnet
from scoressl_jax.sampling.loop import image_keys

pytestmark = pytest.mark.usefixtures("at_root")

CHOSEN = {"preset"}  # fields that the file itself reads
DEPENDS = {  # the fields of a shrunk config that what is traced follows from, besides the number of classes
    "score": ("seed", "dtype", "sde", "score"),
    "teacher": ("seed", "dtype", "teacher", "regime", "data.class_prior"),
    "classifier": ("seed", "dtype", "sde", "score", "classifier", "regime", "data.class_prior", "teacher"),
    "judge": ("seed", "evaluation"),
    "cas": ("seed", "evaluation"),
    "samples": ("dtype", "sde", "score.network", "score.scaling", "sampling")
    + tuple(f"classifier.{name}" for name in ("kind", "network", "depth", "norm")),
}


class Recorder:
    """Stands in for a ConfigDict and notes in `seen` which fields are read."""

    def __init__(self, config, seen, prefix=""):
        self._config, self._seen, self._prefix = config, seen, prefix

    def __getitem__(self, name):
        value = self._config[name]
        if isinstance(value, ConfigDict):
            return Recorder(value, self._seen, f"{self._prefix}{name}.")
        self._seen.add(self._prefix + name)
        return value

    __getattr__ = __getitem__

    def copy_and_resolve_references(self):
        return Recorder(self._config.copy_and_resolve_references(), self._seen, self._prefix)

    def update(self, fields):
        self._config.update(fields)

    def keys(self):
        return self._config.keys()

    def __iter__(self):
        return iter(self.keys())


def shrunk(config):
    """The same kinds of everything, as small as they go."""
    config = config.copy_and_resolve_references()
    data, score, classifier, evaluation = config.data, config.score, config.classifier, config.evaluation
    data.num_labels = data.num_labels and 20
    data.num_positive, data.prior_steps = data.num_positive and 4, 2
    score.update(width=4, blocks=1, embedding=2, batch_size=4, steps=2, warmup=1)
    score.multipliers, score.attention = (1,), ()  # the middle has attention
    classifier.update(width=4, widen=1, embedding=2, batch_size=4, unlabeled_batch_size=4, steps=2, warmup=1)
    if config.teacher.method != "none":
        config.teacher.update(depth=4, batch_size=4, unlabeled_batch_size=4, steps=2, warmup=1)
    if classifier.network == "wide_resnet":
        classifier.depth = 4  # no blocks, but both inputs, the norm and the head
    config.sampling.update(count=4, batch_size=4, steps=2)
    evaluation.update(times=2, curve_images=4, batch_size=4, judge_depth=4, judge_widen=1, judge_steps=2)
    evaluation.update(cas_steps=2, k=3)
    config.training.steps_per_call = 1
    return config


def prepared(job):
    """(the lowered update, its arguments) of a first step from random parameters."""
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(job.init_state))
    params = jax.tree.map(lambda leaf: 0.1 * rng.normal(size=leaf.shape).astype(leaf.dtype), state.params)
    indices = {name: array[0] for name, array in job.indices(0, 0, 1).items()}
    state = state.replace(params=params, ema_params=params)
    arguments = state, job.arrays, job.frozen, indices, jax.random.key(0)
    return jax.jit(job.update).lower(*arguments), arguments


def take_step(lowered, arguments):
    after, logs = lowered.compile(compiler_options=QUICK)(*arguments)
    assert all(np.isfinite(value) for value in jax.device_get(logs).values()), logs
    for params in (after.params, after.ema_params):
        moved = jax.tree.map(lambda one, other: (np.asarray(one) != other).any(), params, arguments[0].params)
        assert any(jax.tree.leaves(moved))
    assert after.step == 1


def shape_of_samples(sample, parameters, conditions):
    keys = image_keys(jax.random.key(0), jnp.arange(len(conditions["labels"])))
    return jax.eval_shape(lambda parameters: sample(parameters, keys, **conditions), parameters).shape


def no_predictors(work):
    return lambda x, t: np.zeros((len(x), work.experiment.num_classes)), lambda x, t, y: np.zeros_like(x)


class Rehearsed(Run):
    """A run whose stages are `take(job)` in place of being trained."""

    def __init__(self, workdir, take):
        super().__init__(workdir)
        self.take, self.trained = take, {}
        self.write_config({"teacher": {"steps": 2, "stop": 1.0}}, "")

    def train(self, job, stop):
        self.trained[job.name] = self.take(job), job.steps
        return {}

    def params(self, stage):
        return self.trained[stage][0]

    def steps_done(self, stage):
        return self.trained.get(stage, (None, 0))[1]


class NoJudge:
    """Stands in for a trained judge."""

    name = "none"

    def __init__(self, *_):
        pass

    def outputs(self, images, batch):
        return {"logits": np.zeros((len(images), 2)), "pool": np.arange(len(images), dtype=float)[:, None]}

    def accuracy(self, images, labels, batch):
        return 0.0


@pytest.fixture(scope="module")
def read_by(tmp_path_factory):
    """(config, mode) -> the fields that a run reads, not counting checks of values and the copy in config.json."""
    done = {}

    def read_by(config, mode):
        config, seen, used = shrunk(config), set(), []
        validate(config, known=json.loads(config.to_json()))  # it may shrink what is not read

        def once(name, num_classes, work):
            """work() where it has not been done for these fields; what it read is read by every run that has them."""
            key = name, num_classes, *(str(get(config, field)) for field in DEPENDS[name])
            if key not in done:
                before = set(seen)
                seen.clear()
                done[key] = work(), set(seen)
                seen.update(before)
            result, read = done[key]
            seen.update(read)
            return result

        def take(job):
            def start():
                lowered, arguments = prepared(job)
                return arguments[0].params, pool.submit(take_step, lowered, arguments)

            kind = "judge" if job.name.startswith("class_prior") else job.name  # judges of the same two classes
            params, step = once(kind, kind != "score" and work.experiment.num_classes, start)
            used.append(step)
            return params

        def generate(make_sample, parameters, conditions, *, batch, seed, stop, first):
            num_classes = len(set(conditions["labels"]))
            shape = once("samples", num_classes, lambda: shape_of_samples(make_sample(None), parameters, conditions))
            return np.zeros(shape, np.uint8)

        def load(name, *_, **__):
            rng, classes = np.random.default_rng(0), SETS[name][-1] if name in SETS else 10
            return images(name, 200, 8, 1, classes, lambda shape, dtype: rng.integers(0, 256, shape, dtype))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tfds, "load_tfds", load)
            patch.setattr(folder, "load_folder", load)
            patch.setattr(digits, "load_digits", lambda: load("digits"))
            patch.setattr(resnet, "STAGES", dict.fromkeys(resnet.STAGES, (1,)))
            patch.setattr(build, "validate", lambda *_: None)
            for module in (measure, class_prior):
                patch.setattr(module, "Judge", NoJudge)
            patch.setattr(drawing, "generate", generate)
            patch.setattr(stages_of_images, "score_weights", lambda experiment: SimpleNamespace(ema_params=None))
            patch.setattr(stages_of_images, "classifier_weights", lambda experiment: None)
            patch.setattr(measure, "predictors", no_predictors)
            patch.setattr(choice, "network_rights", lambda experiment, _, left_out: np.ones((3, len(left_out))))
            patch.setattr(likelihood, "bits_per_dim", lambda keys, score_fn, sde, images, **_: jnp.zeros(len(images)))
            patch.setattr(classification, "batched", lambda fn, batch, *arrays: fn(*arrays))
            patch.setattr(classification, "diffuse", lambda sde, images, *_: images.astype(np.float32))
            kind = dataclasses.replace(IMAGES, stages=IMAGES.stages[:-1])  # the report reads files alone
            run = Rehearsed(tmp_path_factory.mktemp("run"), take)
            work = Work(kind, run, kind.build(Recorder(config, seen), None))
            execute(kind, mode, work)
        for step in used:
            step.result()
        return frozenset(seen)

    with ThreadPoolExecutor(2) as pool:  # compiles while this thread traces what comes next
        yield read_by


@pytest.fixture(scope="module")
def read_by_experiment(read_by):
    return functools.cache(lambda name: read_by(load_config(*EXPERIMENTS[name]), command_of(name.split("-")[0])[2]))


def fields(config):
    return dict(flat(config.to_dict()))


def idle(config, read):
    """Fields that differ from the default and are not among those read."""
    default = fields(default_config())
    changed = {name for name, value in fields(config).items() if name not in default or value != default[name]}
    return changed - read - CHOSEN


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_stage_takes_a_step_and_every_field_that_the_file_sets_is_read(name, read_by_experiment):
    assert idle(load_config(*EXPERIMENTS[name]), read_by_experiment(name)) == set()


def taught(method):
    """A config with a teacher."""
    config = load_config("configs/digits_pu.py") if method in PU_METHODS else default_config()
    config.teacher.method = method
    config.teacher.strong = "rand_augment" if method == "fixmatch" else "affine"
    return config


def test_every_field_there_is_is_read_by_some_run(read_by, read_by_experiment):
    config = default_config()
    config.sde.name, config.score.network, config.classifier.network = "vp", "mlp", "mlp"
    config.data.name, config.data.path = "folder", "tests"  # what is there is not read
    config.sampling.sampler = "ode"
    estimating = load_config("configs/digits_pu.py")
    estimating.data.class_prior, estimating.sampling.sampler = 0.0, "ddim"
    begun = default_config()
    begun.score.init_from, begun.score.warm_start, begun.classifier.init_from = "run:there", True, "run:there"
    runs = [read_by(own, "run") for own in (config, estimating, begun)]
    # Generative ones have networks of their own, which random weights are no test of: test_generative_teachers.py.
    generative = {method for method in ALL_METHODS if hasattr(ALL_METHODS[method], "network")}
    runs += [read_by(taught(method), "train_teacher") for method in ("auto", *ALL_METHODS) if method not in generative]
    runs.append({name for name in fields(default_config()) if set(name.split(".")) & generative})
    runs += [read_by_experiment(name) for name in EXPERIMENTS]
    assert fields(default_config()).keys() - frozenset().union(*runs) == CHOSEN


def test_a_field_that_nothing_reads_is_caught(read_by):
    config = load_config("configs/digits_ssl_da.py")
    assert idle(config, read_by(config, "run")) == set()
    with config.unlocked():
        config.sampling.colour = "blue"
    config.data.image_size = 16  # of folders alone
    assert idle(config, read_by(config, "run")) == {"sampling.colour", "data.image_size"}
