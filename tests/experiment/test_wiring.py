"""What travels from a config to a network, a loss, a sampler: dropped, swapped or scaled on the way, a test fails."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scoressl_jax.experiment import jobs, networks, objective, samplers, training
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.judge import judge_network
from scoressl_jax.sampling.few_steps import few_steps
from scoressl_jax.sampling.ode import ode_sampler
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP
from tests.experiment.known import coded, exact, keys, make_work, read


def changed(**fields):
    config = default_config()
    config.update_from_flattened_dict(fields)
    return config


# Guidance and samplers


def test_guidance_is_scale_times_the_gradient_between_the_levels_of_the_interval(tmp_path):
    work = make_work(tmp_path, **{"sampling.scale": 3.0, "sampling.interval": (0.1, 1.0)})
    x, labels = jax.random.uniform(jax.random.key(1), (6, 4, 4, 1)), jnp.array([0, 1, 2, 3, 4, 5])
    params = {"shift": jnp.float32(0.25)}, {"shift": 2}
    guided = samplers.guided_score(work.experiment, params, labels)
    sde = work.experiment.sde
    for sigma, inside in ((0.05, False), (0.3, True), (2.0, False)):
        t = jnp.full(6, sde.time_of_log_sigma(jnp.log(sigma)))
        plain = exact(sde)(x, t) + 0.25

        def log_p(pixel, t=t):
            logits = jnp.roll(read(x.at[:, 0, 0, 0].set(pixel)), 2, axis=-1) * (1 + t[:, None])
            return jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1).sum()

        gradient = jnp.zeros_like(x).at[:, 0, 0, 0].set(jax.grad(log_p)(x[:, 0, 0, 0]))
        assert jnp.abs(gradient).max() > 1
        np.testing.assert_allclose(guided(x, t), plain + (3.0 * gradient if inside else 0), rtol=2e-3, atol=1e-4)


def test_scale_zero_asks_no_classifier(tmp_path):
    work = make_work(tmp_path, **{"sampling.scale": 0.0})
    x, t = jnp.full((2, 4, 4, 1), 0.3), jnp.full(2, 0.5)
    guided = samplers.guided_score(work.experiment, ({"shift": 0.0}, None), jnp.zeros(2, int))
    np.testing.assert_allclose(guided(x, t), exact(work.experiment.sde)(x, t))


SHAPE, WIDE = (4, 4, 1), 0.6  # so wide that clipping acts
PLANS = {
    "ddim": dict(steps=6, schedule="time", eta=0.7, clip=True),
    "dpm_solver": dict(steps=5, schedule="log_sigma", clip=True),
    "heun": dict(steps=4, schedule="time", clip=True),
    "predictor_corrector": dict(
        steps=6, predictor="ancestral", corrector="langevin", corrector_steps=2, snr=0.3, norms="batch"
    ),
    "ode": dict(tolerance=0.03),
}
START = dict(t_init=0.8, prior="uniform_gaussian")


@pytest.mark.parametrize("name", PLANS)
def test_every_field_of_a_sampler_arrives_where_it_belongs(name):
    config = changed(**{f"sampling.{k}": v for k, v in (PLANS[name] | START | {"sampler": name}).items()})
    sde = VE(sigma_min=0.01, sigma_max=10.0)
    found = samplers.build_sampler(config.sampling, sde, SHAPE)(keys(3), exact(sde, WIDE), None)
    if name == "ode":
        expected = ode_sampler(keys(3), exact(sde, WIDE), sde, SHAPE, **PLANS[name], **START)
    elif name == "predictor_corrector":
        expected = predictor_corrector(keys(3), exact(sde, WIDE), sde, SHAPE, **PLANS[name], **START)
    else:
        expected = few_steps(keys(3), exact(sde, WIDE), sde, SHAPE, solver=name, **PLANS[name], **START)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", PLANS)
def test_every_field_of_a_sampler_changes_what_it_draws(name):
    sde, defaults = VE(sigma_min=0.01, sigma_max=10.0), dict(default_config().sampling)

    def draw(plan):
        config = changed(**{f"sampling.{k}": v for k, v in (plan | {"sampler": name}).items()})
        return np.asarray(samplers.build_sampler(config.sampling, sde, SHAPE)(keys(3), exact(sde, WIDE), None))

    whole = PLANS[name] | START
    for field in whole:
        assert not np.array_equal(draw(whole), draw(whole | {field: defaults[field]})), field


def test_hidden_parts_are_drawn_and_given_ones_stay(tmp_path):
    known = jnp.asarray(coded(range(3), 5) / 255.0, jnp.float32)
    for hidden, drawn in (("right", np.s_[:, :, 2:]), ("bottom", np.s_[:, 2:]), ("center", np.s_[:, 1:3, 1:3])):
        work = make_work(
            tmp_path, **{"sampling.task": "inpainting", "sampling.hidden": hidden, "sampling.scale": 0.0}
        )
        sample = samplers.guided_sampler(work.experiment)
        x = sample(({"shift": 0.0},), keys(3), jnp.zeros(3, int), known)
        differs = np.abs(np.asarray(x - known)) > 1e-5
        mask = np.zeros(differs.shape, bool)
        mask[drawn] = True
        assert not differs[~mask].any()
        assert differs[mask].mean() > 0.9


def test_network_calls_are_counted():
    for name, calls in (("ddim", 6), ("dpm_solver", 5), ("heun", 7), ("predictor_corrector", 18), ("ode", None)):
        config = changed(**{f"sampling.{k}": v for k, v in (PLANS[name] | {"sampler": name}).items()})
        assert samplers.network_calls(config.sampling) == calls


# Processes and networks


def test_processes_have_the_fields_of_their_own():
    fields = {"sde.sigma_min": 0.02, "sde.sigma_max": 7.0, "sde.beta_min": 0.3, "sde.beta_max": 11.0}
    for name, expected in (("ve", VE(0.02, 7.0)), ("vp", VP(0.3, 11.0)), ("subvp", SubVP(0.3, 11.0))):
        config = changed(**fields, **{"sde.name": name})
        found = networks.build_sde(config)
        assert (type(found), vars(found)) == (type(expected), vars(expected))


def test_the_score_network_has_its_fields():
    fields = dict(width=8, multipliers=(1, 2), blocks=2, attention=(4,), patch=2, fir=False, pyramid="skip")
    fields |= dict(dropout=0.3, embedding=6)
    config = changed(**{f"score.{name}": value for name, value in fields.items()}, dtype="bfloat16")
    body = networks.build_score_network(config).body
    assert {name: getattr(body, name) for name in fields} == fields
    assert (body.kind, body.dtype) == ("fourier", jnp.bfloat16)
    config = changed(**{"score.network": "mlp", "score.width": 9, "score.blocks": 3, "score.dropout": 0.4})
    body = networks.build_score_network(config).body
    assert (body.width, body.blocks, body.dropout, body.embedding, body.dtype) == (9, 3, 0.4, 16, None)
    config = changed(**{"score.scaling": "time", "sde.name": "vp", "sde.beta_max": 11.0})
    network = networks.build_score_network(config)
    assert (network.scaling, network.body.kind, network.process) == ("time", "positional", VP(0.1, 11.0))


def test_the_classifier_has_its_fields():
    shared = dict(norm="instance++", patch=2, embedding=6)
    plans = {
        "wide_resnet": dict(depth=16, widen=3, **shared),
        "resnet": dict(depth=34, width=24, **shared),
        "mlp": dict(width=24, blocks=3, embedding=6),
    }
    for name, fields in plans.items():
        for kind, assisted in (("noisy", False), ("denoising_assisted", True)):
            told = {f"classifier.{k}": v for k, v in (fields | {"network": name, "kind": kind}).items()}
            network = networks.build_classifier_network(changed(**told, dtype="bfloat16"), 7)
            assert {field: getattr(network, field) for field in fields} == fields
            assert (network.num_classes, network.denoised_input, network.dtype) == (7, assisted, jnp.bfloat16)


def test_the_judge_has_its_fields():
    config = changed(**{"evaluation.judge_depth": 16, "evaluation.judge_widen": 3, "evaluation.judge_patch": 2})
    network = judge_network(config.evaluation, 4)
    found = network.num_classes, network.depth, network.widen, network.patch, network.embedding, network.norm
    assert found == (4, 16, 3, 2, 16, "group")


# Training


def test_the_objective_has_its_fields():
    fields = dict(tau=0.03, threshold=0.7, dlsm_power=1.5, temporal_delta=0.4, temporal_time="same")
    fields |= dict(temporal_noise="fresh", times="uniform")
    terms = dict(ce=1.0, ce_tau=2.0, dlsm=3.0, pseudo=4.0, pseudo_dlsm=5.0, denoising=6.0, temporal=7.0, prior=8.0)
    config = changed(**{f"classifier.{k}": v for k, v in fields.items()})
    config.classifier.terms.update(terms)
    sde = VE(0.01, 10.0)
    found = objective.build_objective(config, sde, 0.3)
    assert {name: getattr(found, name) for name in fields} == fields
    assert found.weights == terms
    assert found.sde is sde
    assert found.prior == pytest.approx((0.7, 0.3))


def test_the_optimiser_has_its_fields():
    """One step of AdamW by hand: clipped gradient, warm-up, decoupled decay; then the two schedules."""
    stage = SimpleNamespace(
        learning_rate=0.1, weight_decay=0.5, warmup=4, clip=1.0, schedule="constant", steps=10, optimizer="adamw"
    )
    params, gradient = {"a": jnp.array([2.0, -1.0])}, {"a": jnp.array([30.0, 40.0])}
    optimizer = training.optimizer_of(stage)
    update, state = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(update["a"], -0.1 / 4 * (np.array([1.0, 1.0]) + 0.5 * np.array([2.0, -1.0])), rtol=1e-4)
    clipped = optax.tree.norm([leaf for leaf in jax.tree.leaves(state) if jnp.shape(leaf) == (2,)][:1])
    assert float(clipped) == pytest.approx(0.1, rel=1e-3)  # (1 - b1) times a norm of 1
    for schedule, last in (("constant", 0.1), ("cosine", 0.1 * 0.5 * (1 + np.cos(np.pi * 0.9)))):
        stage.schedule, stage.weight_decay = schedule, 0.0
        optimizer = training.optimizer_of(stage)
        state = optimizer.init(params)
        for _ in range(10):
            update, state = optimizer.update(gradient, state, params)
        np.testing.assert_allclose(update["a"], [-last, -last], rtol=1e-4)
    stage.optimizer, stage.schedule = "sgd", "constant"
    optimizer = training.optimizer_of(stage)
    update, _ = optimizer.update(gradient, optimizer.init(params), params)  # Nesterov's first step is 1.9 gradients
    np.testing.assert_allclose(update["a"], -1.9 * 0.1 / 4 * np.array([0.6, 0.8]), rtol=1e-4)


def test_the_classifier_learns_from_its_pools_and_its_batches(tmp_path):
    work = make_work(tmp_path, **{"classifier.batch_size": 4, "classifier.unlabeled_batch_size": 6})
    work.known["score"] = {"shift": jnp.zeros(())}
    job = jobs.classifier_job(work.experiment, work.params("score"))
    np.testing.assert_array_equal(job.pools["x"], work.experiment.split.labeled)
    np.testing.assert_array_equal(job.pools["x_u"], work.experiment.split.unlabeled)
    assert job.batch_sizes == {"x": 4, "x_u": 6}
    np.testing.assert_array_equal(job.arrays["y"], work.experiment.y_visible)
    np.testing.assert_array_equal(job.arrays["y_hidden"], work.experiment.dataset.y_train)
    assert (job.steps, job.seed, job.frozen) == (1800, 0, work.params("score"))
    assert job.remedy == "lower config.classifier.learning_rate or allow config.training.max_rollbacks"
    work.config.classifier.terms.update(pseudo=0.0, temporal=0.0)
    assert set(jobs.classifier_job(work.experiment, work.params("score")).pools) == {"x"}


def test_the_score_network_learns_from_every_training_image(tmp_path):
    work = make_work(tmp_path, **{"score.batch_size": 12, "score.steps": 33, "seed": 5})
    job = jobs.score_job(work.experiment)
    np.testing.assert_array_equal(job.pools["x"], np.arange(60))
    assert (job.batch_sizes, job.steps, job.seed) == ({"x": 12}, 33, 5)
    np.testing.assert_array_equal(job.arrays["x"], work.experiment.dataset.x_train)


def test_batches_are_changed_as_the_fields_say():
    config = changed(
        **{"classifier.random_flip": True, "classifier.random_shift": 2, "classifier.random_affine": 0.3}
    )
    assert jobs.changes_of(config) == dict(flip=True, shift=2, affine=0.3)
    arrays = {"x": coded(range(8), 3), "y": np.arange(8), "y_hidden": 10 + np.arange(8)}
    indices = {"x": jnp.array([1, 2]), "x_u": jnp.array([3, 5])}
    batch = jobs.make_batch_fn()(arrays, indices, jax.random.key(0))
    np.testing.assert_array_equal(batch["x"], arrays["x"][[1, 2]].astype(np.float32) / 255)
    np.testing.assert_array_equal(batch["x_u"], arrays["x"][[3, 5]].astype(np.float32) / 255)
    np.testing.assert_array_equal(batch["y"], [1, 2])
    np.testing.assert_array_equal(batch["y_u"], [13, 15])
    mirrored = jobs.make_batch_fn(flip=True)(arrays, {"x": jnp.arange(8)}, jax.random.key(0))["x"]
    plain = arrays["x"] / np.float32(255)
    flips = [np.array_equal(a, b[:, ::-1]) for a, b in zip(np.asarray(mirrored), plain, strict=True)]
    assert 0 < sum(flips) < 8


