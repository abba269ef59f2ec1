"""What the study trains: three score networks (of all points, of either class) in one job, then the classifiers, one
job a loss, `config.classifier.runs` of them side by side."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.experiment import fields
from scoressl_jax.losses.score_matching import denoising_score_matching, sample_times
from scoressl_jax.methods.score_ssl import Objective
from scoressl_jax.metrics.score_error import grid, oracle
from scoressl_jax.sde import VE
from scoressl_jax.studies.moons import networks as networks
from scoressl_jax.studies.moons.config import validate
from scoressl_jax.studies.moons.points import load_moons
from scoressl_jax.training.loop import Job
from scoressl_jax.training.state import init_state, make_optimizer
from scoressl_jax.training.step import grads_of_runs, make_update

PRIOR, UPPER, LOWER = 0, 1, 2  # the score networks, in the order of their stack
CLASSES = (0, 1)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What every stage shares. The oracle is the exact one, on the grid at config.evaluation.sigma."""

    config: object
    points: np.ndarray
    labels: np.ndarray
    sde: VE
    score_network: object
    classifier_network: object
    time: float  # at which the process has the noise level of the score errors
    at: np.ndarray  # the grid, [J, 2]
    posterior: np.ndarray
    prior: np.ndarray

    def focus(self, stage):
        """(share, times) that a stage's noise levels keep to; () where it has none."""
        low, high = (float(self.sde.inverse_std(sigma)) for sigma in self.config.sde.focus)
        return (stage.focus, low, high) if stage.focus else ()

    def score_fn(self, params):
        return guidance.make_score_fn(self.sde, lambda x, s: self.score_network.apply(params, x, s))

    def classifier_fn(self, params):
        return guidance.make_classifier_fn(self.sde, lambda x, s: self.classifier_network.apply(params, x, s))


def build(config, known: dict | None = None) -> Study:
    """Check the config and make the study; `known` is for kinds with fields that nothing may read."""
    validate(config)
    return make_study(config)


def make_study(config) -> Study:
    points, labels = load_moons()
    at, sde, sigma = grid(), VE(sigma_min=config.sde.sigma_min, sigma_max=config.sde.sigma_max), config.evaluation.sigma
    std = tuple(points.std(0))
    scores = {"scaled": lambda: networks.ScaledScore(std), "published": networks.PublishedScore}
    classifiers = {"scaled": lambda: networks.ScaledClassifier(std), "published": networks.PublishedClassifier}
    posterior, prior = oracle(at, points, labels, sigma)
    return Study(
        config=config,
        points=points,
        labels=labels,
        sde=sde,
        score_network=scores[config.score.network](),
        classifier_network=classifiers[config.classifier.network](),
        time=float(sde.inverse_std(sigma)),
        at=at,
        posterior=posterior,
        prior=prior,
    )


def one(stack, index):
    """Parameters of one of a stack of networks."""
    return jax.tree.map(lambda leaf: leaf[index], stack)


def make_batch(arrays, indices, _):
    """Points `[R, B, 2]` and labels of R runs, each with indices of its own."""
    rows = jnp.stack([indices[name] for name in sorted(indices)])
    return {"x": arrays["x"][rows], "y": arrays["y"][rows]}


def make_job(study, *, name, stage, rate, network, loss_fn, pools, measure, frozen=()):
    """A Job that trains one network for each of `pools`, a list of indices into the points. `rate` is the config field
    of its learning rate."""
    config = study.config
    optimizer = make_optimizer(
        learning_rate=fields.get(config, rate),
        weight_decay=0.0,
        warmup=stage.warmup,
        clip=0.0,
        schedule=stage.schedule,
        steps=stage.steps,
    )
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1), len(pools))
    names = [f"run{r}" for r in range(len(pools))]
    return Job(
        name=name,
        update=make_update(loss_fn, make_batch, optimizer, stage.ema, grads_of_runs),
        init_state=lambda: init_state(
            jax.vmap(lambda key: network.init(key, jnp.zeros((1, 2)), jnp.zeros(1)))(keys), optimizer
        ),
        arrays={"x": study.points.astype(np.float32), "y": study.labels},
        frozen=frozen,
        pools=dict(zip(names, pools, strict=True)),
        batch_sizes=dict.fromkeys(names, stage.batch_size),
        steps=stage.steps,
        seed=config.seed,
        remedy=f"lower config.{rate} or allow config.training.max_rollbacks",
        measure=measure,
        **config.training,  # steps_per_call, checkpoint_every, max_rollbacks
    )


def on_grid(study):
    """(x, t) of the grid at the noise level of the score errors."""
    return jnp.asarray(study.at, jnp.float32), jnp.full(len(study.at), study.time)


def distance(scores, true):
    return jnp.linalg.norm(scores - true, axis=-1).mean()


def score_job(study, which=(PRIOR, UPPER, LOWER)):
    """Denoising score matching on all points, on the upper and on the lower ones."""
    s = study.config.score
    focus = study.focus(s)

    def loss_fn(params, frozen, batch, key):
        key_t, key_z = jax.random.split(key)
        t, z = sample_times(key_t, len(batch["x"]), s.times, focus), jax.random.normal(key_z, batch["x"].shape)
        loss = denoising_score_matching(study.score_fn(params), study.sde, batch["x"], t, z, power=s.power)
        return loss, {}

    def measure(params, frozen):
        true = (study.prior, *study.posterior)
        found = [study.score_fn(one(params, row))(*on_grid(study)) for row in range(len(which))]
        return {f"score_error_{row}": distance(field, true[which[row]]) for row, field in enumerate(found)}

    every = [np.arange(len(study.points)), *(np.flatnonzero(study.labels == c) for c in CLASSES)]
    pools = [every[i] for i in which]
    return make_job(
        study,
        name="score",
        stage=s,
        rate="score.learning_rate",
        network=study.score_network,
        loss_fn=loss_fn,
        pools=pools,
        measure=measure,
    )


def classifier_job(study, loss, score_params):
    """Classifiers trained with `loss` (ce, dlsm, dlsm_ce) beside the frozen score network of all points."""
    c = study.config.classifier
    weights = {"ce": {"ce": 1.0}, "dlsm": {"dlsm": 1.0}, "dlsm_ce": {"dlsm": 1.0, "ce": c.ce_weight}}[loss]
    objective = Objective(
        sde=study.sde, weights=weights, times=c.times, dlsm_power=c.power, focus=study.focus(c)
    )

    def loss_fn(params, frozen, batch, key):
        return objective(study.classifier_fn(params), study.score_fn(frozen), batch, key)

    def measure(params, frozen):
        def error(params):
            g = likelihood_scores(study.classifier_fn(params), *on_grid(study))
            return distance(g, study.posterior - study.prior)

        return {f"score_error_{run}": error(one(params, run)) for run in range(c.runs)}

    pools = [np.arange(len(study.points))] * c.runs
    return make_job(
        study,
        name=f"classifier_{loss}",
        stage=c,
        rate=f"classifier.learning_rate.{loss}",
        network=study.classifier_network,
        loss_fn=loss_fn,
        pools=pools,
        measure=measure,
        frozen=one(score_params, PRIOR),
    )


def likelihood_scores(classifier_fn, x, t):
    """grad_x log p(class | x) for either class, `[2, B, 2]`."""
    labels = [jnp.full(len(x), c) for c in CLASSES]
    return jnp.stack([guidance.log_likelihood_grad(classifier_fn, x, t, y) for y in labels])
