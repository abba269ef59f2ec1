"""The independent judge: a classifier of clean images that guides nothing and only ever measures."""

import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.metrics.classification import batched
from scoressl_jax.models.wide_resnet import WideResNet
from scoressl_jax.training.checkpoints import read_averages
from scoressl_jax.training.step import by_image, device_mesh, replicated

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
    return WideResNet(num_classes, plan.judge_depth, plan.judge_widen, embedding=16, patch=plan.judge_patch)


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
            return jnp.concatenate(self.network.apply(params, x, judge_level(x)), axis=-1)

        return apply

    def outputs(self, images, batch):
        """{"logits" [N, classes], "pool" [N, F]} of uint8 images `[N, H, W, C]`; pool is the penultimate layer."""
        both = batched(lambda x: self._apply(self.params, x), batch, images)
        logits, pool = np.split(both, [self.network.num_classes], axis=1)
        return {"logits": logits, "pool": pool}

    def accuracy(self, images, labels, batch):
        return float((self.outputs(images, batch)["logits"].argmax(-1) == labels).mean())


def judge_of_run(path):
    """The judge that the run in directory `path` has trained; a UserError where it has none."""
    path = Path(path)
    try:
        plan = json.loads((path / "config.json").read_text())["evaluation"]
        data = json.loads((path / "results.json").read_text())["data"]
        steps, depth, widen = (int(plan[f"judge_{name}"]) for name in ("steps", "depth", "widen"))
        trained_on = f"all {data['num_train']} labels of the training set of {data['name']}"
        num_classes, patch = int(data["num_classes"]), int(plan.get("judge_patch", 1))  # older runs have none
    except OSError as error:
        raise UserError(f"judge:{path} is no run ({error.strerror}: {error.filename}): name its directory") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"judge:{path}: its config.json or results.json cannot be read ({one_line(error)})") from None
    step, params = read_averages(path / "checkpoints" / "judge")
    if not step or step != steps:
        raise UserError(
            f"judge:{path} has no trained judge ({step} of {steps} steps): finish the run, or take --features=judge"
        )
    return Judge(WideResNet(num_classes, depth, widen, embedding=16, patch=patch), params, trained_on)


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
