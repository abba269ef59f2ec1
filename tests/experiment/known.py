"""An experiment whose answers are known: coded images, an exact score function, a classifier that reads codes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.data.splits import Split
from scoressl_jax.experiment.build import Experiment
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.data import Prepared
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work

STEP = 25  # grey levels between the codes of two classes
SPREAD = 0.2  # standard deviation of the Gaussian data that `exact` is the score of, around 0.5


def coded(classes, seed):
    """uint8 `[N, 4, 4, 1]`: the first pixel is STEP times a class, the last one the number of the image, the rest
    random."""
    classes = np.asarray(classes)
    images = np.random.default_rng(seed).integers(0, 256, (len(classes), 4, 4, 1)).astype(np.uint8)
    images[:, 0, 0, 0] = STEP * classes
    images[:, -1, -1, 0] = np.arange(len(classes))
    return images


def read(images):
    """Logits `[N, 10]` of the class that the first pixel codes, of floats in [0, 1]; NumPy or JAX."""
    code = images[:, 0, 0, 0] * 255 / STEP
    return -((code[:, None] - np.arange(10)) ** 2)


def exact(sde, spread=SPREAD):
    """The score of images whose pixels are independent, Gaussian around 0.5 with deviation `spread`."""

    def score_fn(x, t):
        alpha, std = (part.reshape(-1, 1, 1, 1) for part in sde.marginal(t))
        return -(x - alpha * 0.5) / (alpha**2 * spread**2 + std**2)

    return score_fn


class Known(Experiment):
    """Parameters are {"shift"}: the score network's is added to its score, the classifier's moves its answer on."""

    def score_fn(self, params):
        return lambda x, t: exact(self.sde)(x, t) + params["shift"]

    def classifier_fn(self, params, score_fn):
        def classifier_fn(x, t):
            logits = jnp.roll(read(x), params["shift"], axis=-1)[:, : self.num_classes]
            return logits * (1 + t[:, None]), score_fn(x, t).reshape(x.shape[0], -1)

        return classifier_fn


class KnownWork(Work):
    """Work whose networks are not trained; `known` are their parameters."""

    def params(self, name):
        return self.known[name]


def make_work(folder, *, classes=10, train=None, test_says=None, test_is=None, labeled=None, **changes):
    """A KnownWork on coded images. test_says: what the codes of the test images say, test_is: what they are."""
    rng = np.random.default_rng(0)
    train = rng.permutation(np.repeat(np.arange(classes), 6)) if train is None else np.asarray(train)
    test_is = np.repeat(np.arange(classes), 3) if test_is is None else np.asarray(test_is)
    test_says = test_is if test_says is None else np.asarray(test_says)
    names = tuple(f"class {c}" for c in range(classes))
    dataset = make_dataset("coded", coded(train, 1), train, coded(test_says, 2), test_is, names)
    labeled = np.arange(len(train))[: 2 * classes] if labeled is None else np.asarray(labeled)
    unlabeled = np.setdiff1d(np.arange(len(train)), labeled)
    visible = np.full(len(train), -1, np.int32)
    visible[labeled] = train[labeled]
    prepared = Prepared(dataset, Split(labeled.astype(np.int32), unlabeled.astype(np.int32)), visible)
    config = default_config()
    config.sampling.update(count=20, batch_size=16, steps=4)
    config.evaluation.update(batch_size=16, times=3, curve_images=12, likelihood_images=0, judge_steps=0, k=2)
    config.update_from_flattened_dict(changes)
    experiment = Known(config, names, (4, 4, 1), lambda: prepared)
    work = KnownWork(IMAGES, Run(folder / "run"), experiment, SimpleNamespace(check=lambda: None))
    work.known = {"score": {"shift": jnp.zeros(())}, "classifier": {"shift": 0}}
    work.run.write_data(prepared.facts, None)
    return work


def keys(count, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(np.arange(count))
