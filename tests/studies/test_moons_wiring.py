"""The two-moons study: every field arrives where it is used. Networks, losses and samplers have tests of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax import guidance
from scoressl_jax.losses.score_matching import denoising_score_matching, sample_times
from scoressl_jax.studies.moons import jobs, networks, study
from scoressl_jax.studies.moons.config import LOSSES, default_config

RATES = {"ce": 0.5, "dlsm": 0.25, "dlsm_ce": 0.125}


@pytest.fixture(scope="module")
def made():
    """A study in which no field has the value of another, nor its default."""
    config = default_config()
    config.seed = 3
    config.sde.update(sigma_min=0.04, sigma_max=45.0, focus=(2.0, 30.0))
    config.score.update(
        power=1.5, batch_size=10, steps=11, warmup=12, schedule="constant", ema=0.7, times="uniform", focus=0.3,
        learning_rate=0.01,
    )  # fmt: skip
    config.classifier.update(power=1.75, batch_size=20, steps=21, warmup=22, ema=0.8, focus=0.4, ce_weight=0.6, runs=2,
                             times="uniform")  # fmt: skip
    config.classifier.learning_rate.update(RATES)
    config.sampling.update(count=30, langevin_steps=4, langevin_step=2.5, reverse_steps=6)
    config.evaluation.update(sigma=5.5, scale=9.0, neighbours=7)
    config.training.update(steps_per_call=13, checkpoint_every=14, max_rollbacks=15)
    return jobs.build(config)


@pytest.fixture
def calls(monkeypatch):
    """(module, name) -> the keyword arguments of every call of a function that is then replaced."""

    def of(module, name, returns=None):
        seen = []
        monkeypatch.setattr(module, name, lambda *args, **kwargs: seen.append((args, kwargs)) or returns)
        return seen

    return of


def scores(made):
    """Parameters of the three score networks."""
    keys = jax.random.split(jax.random.key(0), 3)
    return jax.vmap(lambda key: made.score_network.init(key, jnp.zeros((1, 2)), jnp.zeros(1)))(keys)


def test_the_process_and_the_point_of_measuring(made):
    assert (made.sde.sigma_min, made.sde.sigma_max) == (0.04, 45.0)
    assert float(made.sde.marginal(jnp.float32(made.time))[1]) == pytest.approx(5.5, rel=1e-4)
    share, low, high = made.focus(made.config.score)
    assert share == 0.3
    assert np.asarray(made.sde.marginal(np.array([low, high]))[1]) == pytest.approx([2.0, 30.0], rel=1e-4)
    assert made.focus(made.config.classifier)[0] == 0.4
    config = made.config.copy_and_resolve_references()
    config.score.focus = 0.0
    assert made.focus(config.score) == ()


@pytest.mark.parametrize("name", ["scaled", "published"])
def test_networks_are_chosen_stage_by_stage(made, name):
    config = made.config.copy_and_resolve_references()
    config.score.network, config.classifier.network = name, "scaled"
    found = jobs.build(config)
    assert isinstance(found.score_network, {"scaled": networks.ScaledScore, "published": networks.PublishedScore}[name])
    assert isinstance(found.classifier_network, networks.ScaledClassifier)
    config.classifier.network = "published"
    assert isinstance(jobs.build(config).classifier_network, networks.PublishedClassifier)


def test_the_score_networks_see_all_points_and_those_of_either_class(made, calls):
    optimizers = calls(jobs, "make_optimizer")
    job = jobs.score_job(made)
    sees = [np.unique(made.labels[pool]).tolist() for pool in job.pools.values()]
    assert sees == [[0, 1], [0], [1]]
    assert [len(pool) for pool in job.pools.values()] == [10_000, 5000, 5000]
    assert (job.name, job.steps, job.seed, set(job.batch_sizes.values())) == ("score", 11, 3, {10})
    assert (job.steps_per_call, job.checkpoint_every, job.max_rollbacks) == (13, 14, 15)
    assert "config.score.learning_rate" in job.remedy
    assert optimizers == [
        ((), dict(learning_rate=0.01, weight_decay=0.0, warmup=12, clip=0.0, schedule="constant", steps=11))
    ]


def test_the_loss_of_the_score_networks(made, monkeypatch):
    seen = {}
    monkeypatch.setattr(jobs, "make_update", lambda loss_fn, make_batch, *rest: seen.update(loss=loss_fn, ema=rest[1]))
    jobs.score_job(made)
    params, key = jobs.one(scores(made), 0), jax.random.key(1)
    x = jnp.asarray(made.points[::2000], jnp.float32)
    key_t, key_z = jax.random.split(key)
    t, z = sample_times(key_t, len(x), "uniform", made.focus(made.config.score)), jax.random.normal(key_z, x.shape)
    expected = denoising_score_matching(made.score_fn(params), made.sde, x, t, z, power=1.5)
    assert float(seen["loss"](params, (), {"x": x}, key)[0]) == pytest.approx(float(expected))
    assert seen["ema"] == 0.7


@pytest.mark.parametrize("loss", LOSSES)
def test_the_terms_of_each_classifier(made, calls, loss):
    objectives, optimizers = calls(jobs, "Objective"), calls(jobs, "make_optimizer")
    params = scores(made)
    job = jobs.classifier_job(made, loss, params)
    weights = {"ce": {"ce": 1.0}, "dlsm": {"dlsm": 1.0}, "dlsm_ce": {"dlsm": 1.0, "ce": 0.6}}[loss]
    focus = made.focus(made.config.classifier)
    assert objectives == [((), dict(sde=made.sde, weights=weights, times="uniform", dlsm_power=1.75, focus=focus))]
    assert optimizers[0][1] == dict(
        learning_rate=RATES[loss], weight_decay=0.0, warmup=22, clip=0.0, schedule="cosine", steps=21
    )
    assert (job.name, job.steps, list(job.batch_sizes.values())) == (f"classifier_{loss}", 21, [20, 20])
    assert f"config.classifier.learning_rate.{loss}" in job.remedy
    jax.tree.map(np.testing.assert_array_equal, job.frozen, jobs.one(params, jobs.PRIOR))


def test_samplers_take_their_fields(made, calls):
    langevin, reverse = calls(study, "langevin"), calls(study, "predictor_corrector")
    keys, score = object(), object()
    study.samplers(made)["langevin"](keys, score)
    study.samplers(made)["reverse_sde"](keys, score)
    ((_, given, times, shape), fields) = langevin[0]
    assert (given is score, shape, fields) == (True, (2,), {"step": 2.5, "swapped": False})
    assert times.tolist() == [made.time] * 4
    (_, given, sde, shape), fields = reverse[0]
    assert (given is score, sde is made.sde, shape) == (True, True, (2,))
    assert fields == {"steps": 6, "corrector": "none"}


def test_each_method_has_its_own_networks_and_scale(made):
    class Work:
        experiment, config = made, made.config

        @staticmethod
        def params(stage):
            return {"w": np.array([[stage, i] for i in range(3)])}

    label = 1
    found = {method: study.arrays_of(Work, method, 1) for method in study.METHODS}
    upper_or_lower = {c: study.arrays_of(Work, "posterior_sm", c)[1]["w"].tolist() for c in (0, 1)}
    assert upper_or_lower == {0: ["score", "1"], 1: ["score", "2"]}
    assert found["oracle"][0] == "oracle"
    np.testing.assert_allclose(found["oracle"][1], made.points[made.labels == label][::5], rtol=1e-6)
    expected = {"base": ("ce", 1), "scaling": ("ce", 9), "dlsm": ("dlsm", 1), "dlsm_ce": ("dlsm_ce", 1)}
    for method, (loss, scale) in expected.items():
        kind, (score, classifier, alpha, c) = found[method]
        assert (kind, score["w"].tolist(), classifier["w"].tolist(), float(alpha), c) == (
            "guided", ["score", "0"], [f"classifier_{loss}", "0"], scale, label,
        )  # fmt: skip


def test_guided_sampling_adds_the_scaled_gradient_of_the_class(made):
    score = jobs.one(scores(made), 0)
    classifier = made.classifier_network.init(jax.random.key(5), jnp.zeros((1, 2)), jnp.zeros(1))
    x, t = jnp.asarray(made.at[::300], jnp.float32), jnp.full(5, 0.5)
    gradient = guidance.log_likelihood_grad(made.classifier_fn(classifier), x, t, jnp.ones(5, int))
    found = study.kinds(made)["guided"]((score, classifier, jnp.float32(9.0), 1))(x, t)
    np.testing.assert_allclose(found, made.score_fn(score)(x, t) + 9.0 * gradient, rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(gradient).max()) > 1e-4


def test_samples_are_measured_against_as_many_points_with_the_same_noise(made, calls):
    measured = calls(study, "precision_recall", {"precision": 0.5})
    drawn = {f"{sampler}_base_1": np.full((4000, 2), i) for i, sampler in enumerate(("langevin", "reverse_sde"))}
    found = study.sample_measures(made, drawn, "base", 1)
    assert found == {"langevin": {"precision": 0.5}, "reverse_sde": {"precision": 0.5}}
    points = made.points[made.labels == 1]
    for ((real, samples, k), _), (i, sigma) in zip(measured, ((0, 5.5), (1, 0.0)), strict=True):
        assert (len(real), k, samples[0, 0]) == (4000, 7, i)
        nearest = np.linalg.norm(real[:200, None] - points, axis=-1).min(1)
        assert (nearest.max() < 1e-9) == (sigma == 0)
        assert np.var(real, 0) == pytest.approx(np.var(points, 0) + sigma**2, rel=0.1)
