"""The independent judge: a classifier of clean images that guides nothing and only ever measures."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from scoressl_jax.devices import batched, by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import config_of_run
from scoressl_jax.experiment.data import is_judged
from scoressl_jax.experiment.jobs import changes_of, make_job
from scoressl_jax.experiment.progress import progress_bar
from scoressl_jax.experiment.run import Run
from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.models.wide_resnet import WideResNet
from scoressl_jax.training.loop import Job

OPTIMISATION = dict(optimizer="adamw", weight_decay=1e-2, warmup=50, clip=1.0, schedule="cosine", ema=0.99)
LOG_SIGMA = np.log(0.2)  # what every judge is told, always: its network has an input for the noise level


def judge_loss(network, x, y, key, noise):
    """Cross-entropy of a classifier of images with a little noise of std `noise`; x `[B, ...]` in [0, 1]."""
    logits, _ = network(x + noise * jax.random.normal(key, x.shape), judge_level(x))
    return cross_entropy(logits, y), {"accuracy": (logits.argmax(-1) == y).mean()}


def judge_level(x):
    """The log noise level that the judge is always told, `[B]`."""
    return np.full(x.shape[0], LOG_SIGMA, np.float32)


def judge_network(plan, num_classes):
    """`plan` has the judge's fields of config.evaluation."""
    return WideResNet(
        num_classes=num_classes,
        depth=plan.judge_depth,
        widen=plan.judge_widen,
        embedding=16,
        patch=plan.judge_patch,
    )


@dataclass(frozen=True)
class Judge:
    """A trained judge; `trained_on` says in words what it has seen."""

    network: WideResNet
    params: object
    trained_on: str

    @property
    def name(self):
        return f"WideResNet-{self.network.depth}-{self.network.widen} trained on {self.trained_on}"

    @cached_property
    def _apply(self):
        mesh = device_mesh()

        @partial(jax.jit, out_shardings=replicated(mesh))
        def apply(params, x):
            x = jax.lax.with_sharding_constraint(x, by_image(mesh)) / 255.0
            logits, pool = self.network.apply(params, x, judge_level(x))
            return {"logits": logits, "pool": pool}

        return partial(apply, jax.device_put(self.params, replicated(mesh)))

    def outputs(self, images, batch):
        """{"logits" [N, classes], "pool" [N, F]} of uint8 images `[N, H, W, C]`; pool is the penultimate layer."""
        with progress_bar("judge", len(images)) as bar:
            return batched(self._apply, batch, images, progress=bar.update)

    def accuracy(self, images, labels, batch):
        return float((self.outputs(images, batch)["logits"].argmax(-1) == labels).mean())


def judge_of_run(path: str | Path) -> Judge:
    """The judge that the run in directory `path` has trained; a UserError where it has none."""
    run = Run.open(path)
    plan, data = config_of_run(run).evaluation, run.data
    done = run.steps_done("judge")
    if not done or done != plan.judge_steps or "num_classes" not in data:
        raise UserError(
            f"judge:{path} has no trained judge ({done} of {plan.judge_steps} steps): finish the run, or take "
            "--features=judge"
        )
    trained_on = f"all {data['num_train']} labels of the training set of {data['name']}"
    return Judge(judge_network(plan, data["num_classes"]), run.params("judge"), trained_on)


def can_judge(experiment) -> bool:
    """Whether the experiment has a judge; takes its data."""
    return is_judged(experiment.config.evaluation, experiment.dataset)


def judge_job(experiment) -> Job:
    """An independent classifier of clean images, trained on all true labels, that only ever measures samples."""
    data, config = experiment.dataset, experiment.config
    return measuring_job(
        name="judge",
        config=config,
        images=data.x_train,
        labels=data.y_train,
        num_classes=data.num_classes,
        steps=config.evaluation.judge_steps,
        changes=changes_of(config),
    )


def measuring_job(*, name, config, images, labels, num_classes, steps, pool=None, changes=None) -> Job:
    """A classifier of the judge's kind on any labelled images, uint8 `[N, H, W, C]`: on real ones it is the judge, on
    samples that of the classification accuracy score. `config` is read for seed, evaluation and training alone; `pool`
    are the images to train on, all by default; `changes`: of make_batch_fn."""
    e = config.evaluation
    network = judge_network(e, num_classes)
    stage = ConfigDict(dict(learning_rate=e.judge_learning_rate, steps=steps, **OPTIMISATION))

    def loss_fn(params, frozen, batch, key):
        return judge_loss(lambda x, s: network.apply(params, x, s), batch["x"], batch["y"], key, e.judge_noise)

    return make_job(
        name=name,
        config=config,
        stage=stage,
        loss_fn=loss_fn,
        init_params=lambda key: network.init(key, jnp.zeros((2, *images.shape[1:])), jnp.zeros(2)),
        arrays={"x": images, "y": labels},
        pools={"x": np.arange(len(images)) if pool is None else pool},
        batch_sizes={"x": e.batch_size},
        changes=changes,
        rate="evaluation.judge_learning_rate",
    )


def check_shape(judge, shape, path):
    """A UserError unless the judge of a run can read images of `shape` (H, W, C)."""
    patch = judge.network.patch
    if shape[0] % patch or shape[1] % patch:
        raise UserError(
            f"judge:{path} takes images in patches of {patch}, but these are {shape[0]}x{shape[1]}: "
            "take --features=judge, which trains one on REFERENCE"
        )
    template = jax.eval_shape(judge.network.init, jax.random.key(0), jnp.zeros((1, *shape)), jnp.zeros(1))
    if jax.tree.map(jnp.shape, template) != jax.tree.map(jnp.shape, judge.params):
        raise UserError(
            f"judge:{path} was trained on images with another number of channels than these {shape[-1]}: "
            "take --features=judge, which trains one on REFERENCE"
        )
