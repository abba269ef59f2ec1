"""The teacher's fields arrive where they belong; what its job learns from, and what may not reach it."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import QUICK

from scoressl_jax.data import randaugment
from scoressl_jax.errors import Interrupted
from scoressl_jax.experiment import jobs, objective
from scoressl_jax.experiment.build import Experiment
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.images import taught
from scoressl_jax.experiment.jobs import between_rounds, classifier_job, make_batch_fn, teacher_job
from scoressl_jax.experiment.teacher import METHODS, Teacher, build_method, build_network, strong_of, weak_of
from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.methods.learner import linear
from scoressl_jax.models.clean_resnet import CleanResNet, applied, statistics
from scoressl_jax.training.loop import train
from tests.experiment.known import make_work

SMALL = {"teacher.depth": 4, "teacher.batch_size": 6, "teacher.unlabeled_batch_size": 8, "teacher.warmup": 0}
X = jax.random.uniform(jax.random.key(3), (6, 10, 10, 2))
KEY = jax.random.key(5)


def block(**changes):
    config = default_config()
    config.teacher.update(changes)
    return config.teacher


# Augmentations


@pytest.mark.parametrize("flip", [True, False])
def test_weak_copies_are_those_of_randaugment_with_the_fields(flip):
    found = weak_of(block(shift=0.3, flip=flip))(X, KEY)
    np.testing.assert_array_equal(found, randaugment.weak(X, KEY, shift=0.3, flip=flip))
    assert (found != X).any()


AFFINE = dict(rotate=11.0, zoom=0.13, shear=0.17, move=0.19, contrast=0.23, brightness=0.29)


def mirrored(key):
    """The images, some of them mirrored, as the key of the flips has it."""
    drawn = jax.random.bernoulli(jax.random.split(key, 3)[0], 0.5, (len(X), 1, 1, 1))
    return jnp.where(drawn, X[:, :, ::-1], X)


def strong_by_hand(change, cutout):
    key_flip, key_change, key_cutout = jax.random.split(KEY, 3)
    x = change(mirrored(key_flip), key_change)
    return randaugment.cut_out(x, key_cutout, cutout, x.mean((1, 2), keepdims=True))


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_strong_copies_are_mirrored_then_changed_as_the_fields_say_then_cut(strength):
    found = strong_of(block(**AFFINE, flip=True, cutout=0.5, strength=strength))(X, KEY)
    scaled = {name: strength * value for name, value in AFFINE.items()}
    scaled["shift"] = scaled.pop("move")
    expected = strong_by_hand(lambda x, key: randaugment.strong(x, key, cutout=0.0, **scaled), strength * 0.5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_field_of_strong_copies_changes_them():
    whole = block(**AFFINE, flip=True, cutout=0.5)
    found = strong_of(whole)(X, KEY)
    for name in (*AFFINE, "cutout", "flip"):
        other = strong_of(block(**(AFFINE | dict(flip=True, cutout=0.5) | {name: 0 if name != "flip" else False})))(
            X, KEY
        )
        assert np.abs(other - found).max() > 1e-3, name
    none = dict.fromkeys(AFFINE, 0.0)
    np.testing.assert_allclose(strong_of(block(**none, flip=False, cutout=0.0))(X, KEY), X, atol=1e-5)


def test_rand_augment_has_its_number_of_operations():
    for count in (1, 3):
        found = strong_of(block(strong="rand_augment", operations=count, cutout=0.5, flip=True, rotate=90.0))(X, KEY)
        expected = strong_by_hand(lambda x, key, n=count: randaugment.rand_augment(x, key, count=n), 0.5)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("of", [weak_of, strong_of])
def test_flips_mirror_about_half_of_the_images_left_to_right(of):
    plain = block(**dict.fromkeys(AFFINE, 0.0), shift=0.0, cutout=0.0, flip=True)
    count = 0
    for seed in range(5):
        for one, image in zip(np.asarray(of(plain)(X, jax.random.key(seed))), np.asarray(X), strict=True):
            flipped = np.allclose(one, image[:, ::-1], atol=1e-5)
            assert flipped or np.allclose(one, image, atol=1e-5)
            count += flipped
    assert 5 < count < 25


def test_what_is_cut_out_has_the_mean_of_each_image_by_channel():
    cut = strong_of(block(**dict.fromkeys(AFFINE, 0.0), flip=False, cutout=0.9))
    x = X * jnp.linspace(0.2, 1.0, 6)[:, None, None, None]
    found, squares = np.asarray(cut(x, KEY)), 0
    for one, image in zip(found, np.asarray(x), strict=True):
        inside = (np.abs(one - image) > 1e-6).any(-1)
        squares += inside.any()
        np.testing.assert_allclose(one[inside], np.broadcast_to(image.mean((0, 1)), one[inside].shape), rtol=1e-4)
    assert squares > 3


# Methods and networks


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_fields(name):
    """Each a value of its own: numbers are all different."""
    declared = dataclasses.fields(METHODS[name])
    own = {f.name: i + 2 if isinstance(f.default, int) else (i + 2) / 7 for i, f in enumerate(declared)}
    own |= {f.name: not f.default for f in declared if isinstance(f.default, bool)}
    teacher = block(method=name)
    for field, value in own.items():
        teacher[name][field] = value
    method = build_method(teacher)
    assert type(method) is METHODS[name]
    assert dataclasses.asdict(method) == own


def test_the_network_has_its_fields():
    network = build_network(block(depth=16, widen=3, patch=2), 7, "bfloat16")
    assert network == CleanResNet(7, 16, 3, 2, jnp.bfloat16)


def test_labels_of_a_teacher_take_the_place_of_pseudo_labels():
    config = default_config()
    config.classifier.terms.update({name: i + 1.0 for i, name in enumerate(config.classifier.terms)})
    terms = dict(config.classifier.terms)
    found = objective.weights_of(config)
    assert found == {n: w for n, w in terms.items() if n not in ("taught", "taught_tau")}
    config.teacher.method = "fixmatch"
    assert objective.weights_of(config) == {n: w for n, w in terms.items() if n != "pseudo"}


# The job


def work_of(tmp_path, method, **changes):
    return make_work(tmp_path, **SMALL, **{"teacher.method": method}, **changes)


def test_what_the_job_learns_from(tmp_path):
    fields = {"teacher.steps": 33, "teacher.ema": 0.5, "seed": 5, "training.checkpoint_every": 7}
    experiment = work_of(tmp_path, "fixmatch", **fields).experiment
    job, labeled = teacher_job(experiment), experiment.split.labeled
    np.testing.assert_array_equal(job.pools["x"], labeled)
    np.testing.assert_array_equal(job.pools["x_u"], np.arange(60))
    assert job.batch_sizes == {"x": 6, "x_u": 8}
    np.testing.assert_array_equal(job.arrays["y"], experiment.y_visible)
    np.testing.assert_array_equal(job.arrays["x"], experiment.dataset.x_train)
    assert (job.name, job.steps, job.seed, job.checkpoint_every) == ("teacher", 33, 5, 7)
    assert job.remedy == "lower config.teacher.learning_rate or allow config.training.max_rollbacks"
    shares = np.bincount(experiment.dataset.y_train[labeled], minlength=10) / 20
    np.testing.assert_allclose(job.init_state().memory["shares"], shares)
    assert shares.std() > 0.01
    assert set(teacher_job(work_of(tmp_path, "supervised").experiment).pools) == {"x"}


def test_some_labels_may_be_left_out(tmp_path):
    experiment = work_of(tmp_path, "laplacenet", **{"teacher.steps": 8}).experiment
    some = experiment.split.labeled[::3]
    job = teacher_job(experiment, labeled=some)
    np.testing.assert_array_equal(job.pools["x"], some)
    assert (job.arrays["y"] >= 0).sum() == len(some)
    assert (job.steps, job.rounds) == (8, (2, 4, 6))


def test_a_teacher_that_is_stopped_keeps_its_schedule(tmp_path):
    experiment = work_of(tmp_path, "laplacenet", **{"teacher.steps": 40, "teacher.stop": 0.5}).experiment
    job = teacher_job(experiment)
    assert (job.steps, job.rounds) == (20, (10, 20, 30))


@pytest.fixture
def plain(monkeypatch):
    """Augmentations that compile in no time."""
    noisy = lambda x, key: x + 0.1 * jax.random.uniform(key, (len(x), 1, 1, 1))  # noqa: E731
    monkeypatch.setattr(jobs, "weak_of", lambda teacher: noisy)
    monkeypatch.setattr(jobs, "strong_of", lambda teacher: lambda x, key: noisy(x, key) ** 2)


def compiled(update, *arguments):
    return jax.jit(update).lower(*arguments).compile(compiler_options=QUICK)


def steps(job, count, compiled_for=None):
    """(state, logs) after some steps, each after a round if it has one there."""
    state, key, all_logs = jax.jit(job.init_state)(), jax.random.key(job.seed), []
    indices = job.indices(0, 0, count)
    run = compiled_for
    for step in range(count):
        if step in job.rounds:
            state = job.between(state, job.arrays)
        arguments = state, job.arrays, job.frozen, {name: rows[step] for name, rows in indices.items()}, key
        run = run or compiled(job.update, *arguments)
        state, logs = run(*arguments)
        all_logs.append(logs)
    return state, all_logs, run


def assert_equal(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), one, other)


@pytest.mark.parametrize("method", METHODS)
def test_hidden_labels_never_reach_training(method, tmp_path, plain):
    """Other ones, and training is the same, bit for bit; other labels of labelled images, and it is not."""
    train_labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 6))
    hidden, visible = train_labels.copy(), train_labels.copy()
    hidden[20:] = np.roll(hidden[20:], 7)
    visible[:20] = np.roll(visible[:20], 1)
    fields = {"teacher.steps": 3, f"teacher.{method}.first": 0.4} if method == "laplacenet" else {"teacher.steps": 3}
    made, images = [], None
    for y in (train_labels, hidden, visible):
        job = teacher_job(work_of(tmp_path, method, train=y, **fields).experiment)
        images = job.arrays["x"] if images is None else images
        made.append(dataclasses.replace(job, arrays=job.arrays | {"x": images}))  # which code the labels
    assert (made[0].arrays["y_hidden"] != made[1].arrays["y_hidden"]).any()
    state, logs, run = steps(made[0], 3)
    assert_equal((state, logs), steps(made[1], 3, run)[:2])
    other = steps(made[2], 3, run)[0]
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state.params, other.params)), strict=True))


def test_the_average_teaches_and_progress_is_the_share_of_steps(tmp_path):
    """Mean Teacher's loss of one batch by hand, from networks with parameters and averages of their own."""
    fields = {"teacher.steps": 20, "teacher.mean_teacher.warm_up": 0.5, "teacher.mean_teacher.weight": 1e4}
    fields |= {"teacher.shift": 0.0, "teacher.mean_teacher.strong": False}
    experiment = work_of(tmp_path, "mean_teacher", **fields).experiment
    job = teacher_job(experiment)
    other = jax.tree.map(lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), job.init_state().params)
    indices = {name: rows[0] for name, rows in job.indices(0, 0, 1).items()}
    x, x_u = (job.arrays["x"][indices[name]] / np.float32(255) for name in ("x", "x_u"))
    network, params = build_network(experiment.config.teacher, 10, "float32"), job.init_state().params
    student = applied(network, params)(jnp.concatenate([x, x_u]))[0]
    ce = cross_entropy(student[:6], job.arrays["y"][indices["x"]])
    targets = jax.nn.softmax(applied(network, other)(x_u)[0])
    same = ((jax.nn.softmax(student[6:]) - targets) ** 2).mean()
    run = None
    for step in (0, 3, 15):
        state = jax.jit(job.init_state)().replace(step=jnp.int32(step), ema_params=other)
        arguments = state, job.arrays, (), indices, jax.random.key(0)
        run = run or compiled(job.update, *arguments)
        logs = run(*arguments)[1]
        np.testing.assert_allclose([logs["ce"], logs["consistency"]], [ce, same], rtol=1e-3)
        share = float(linear(step / 20, 0.5))
        np.testing.assert_allclose(logs["loss"], ce + 1e4 * share * same, rtol=1e-3, err_msg=step)
    assert same > 1e-4


def test_rounds_see_features_of_the_averages_normalised_by_the_training_images():
    network, seen = CleanResNet(3, 4), []
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    params, averages = (network.init(jax.random.key(seed), jnp.zeros((2, 8, 8, 1))) for seed in (0, 1))
    method = SimpleNamespace(rounds=(0.1, 0.55, 0.99), between=lambda *given: seen.append(given) or "after")
    found = between_rounds(method, network, 50)
    assert found["rounds"] == (5, 28, 50)
    state = SimpleNamespace(params=params, ema_params=averages, memory="before", replace=lambda **new: new)
    y = np.where(np.arange(40) < 9, np.arange(40) % 3, -1)
    assert found["between"](state, {"x": images, "y": y, "y_hidden": 0 * y}) == {"memory": "after"}
    ((features, labels, memory),) = seen
    known = statistics(network, averages, images / np.float32(255))
    expected = applied(network, averages, known)(images / np.float32(255))[1]
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(labels, y)
    assert memory == "before"
    assert between_rounds(SimpleNamespace(), network, 50) == {}


class Stop:
    def __init__(self, calls):
        self.calls = calls

    def requested(self):
        self.calls -= 1
        return self.calls == 0


@pytest.mark.parametrize("method", ["fixmatch", "laplacenet"])
def test_interrupted_it_goes_on_bit_for_bit(method, tmp_path, plain):
    """With its averages and its memory; LaplaceNet is stopped right before a round."""
    fields = {"teacher.steps": 8, "training.steps_per_call": 3, "training.checkpoint_every": 100}
    fields |= {"teacher.laplacenet.graphs": 2} if method == "laplacenet" else {}
    job = teacher_job(work_of(tmp_path, method, **fields).experiment)
    straight = train(job, tmp_path / "straight", Stop(0))
    for calls in (1, 2):
        with pytest.raises(Interrupted):
            train(job, tmp_path / str(calls), Stop(calls))
        assert_equal(train(job, tmp_path / str(calls), Stop(0)), straight)
    memory = jax.tree.leaves(straight.memory)
    assert any((a != b).any() for a, b in zip(memory, jax.tree.leaves(job.init_state().memory), strict=True))


# Once it is trained


def test_a_teacher_answers_every_image_alike_whatever_is_asked_beside_it():
    network = CleanResNet(3, 4)
    images = np.random.default_rng(0).integers(0, 256, (1030, 4, 4, 1)).astype(np.uint8)
    params = network.init(jax.random.key(0), jnp.zeros((2, 4, 4, 1)))
    found = Teacher.on(network, params, images)
    rows = np.linspace(0, 1029, 1024).astype(int)
    known = statistics(network, params, images[rows] / np.float32(255))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found.statistics, known)
    outputs = found.outputs(images)
    assert outputs["logits"].shape == (1030, 3)
    expected = applied(network, params, known)(images[[3, 700, 1029]] / np.float32(255))
    for name, one in zip(("logits", "features"), expected, strict=True):
        np.testing.assert_allclose(outputs[name][[3, 700, 1029]], one, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.outputs(images[700:701])[name], outputs[name][700:701], rtol=1e-4, atol=1e-5)


# What the classifier takes


def test_each_image_has_the_teacher_s_row_of_its_own():
    arrays = {"x": np.zeros((8, 2, 2, 1), np.uint8), "y": np.arange(8), "y_hidden": np.arange(8)}
    arrays["taught"] = np.random.default_rng(0).dirichlet(np.ones(3), 8)
    batch = make_batch_fn()(arrays, {"x": jnp.array([1, 2]), "x_u": jnp.array([6, 3, 5])}, jax.random.key(0))
    np.testing.assert_allclose(batch["taught"], arrays["taught"][[6, 3, 5]], rtol=1e-6)
    del arrays["taught"]
    assert "taught" not in make_batch_fn()(arrays, {"x": jnp.array([1]), "x_u": jnp.array([6])}, jax.random.key(0))


def test_the_classifier_learns_the_teacher_s_labels_of_its_images(tmp_path):
    network = {"classifier.network": "mlp", "classifier.width": 8, "classifier.blocks": 1, "classifier.kind": "noisy"}
    sizes = {"classifier.batch_size": 4, "classifier.unlabeled_batch_size": 6}
    work = work_of(tmp_path, "fixmatch", **network, **sizes)
    work.config.classifier.terms.update(temporal=0.0)
    labels = np.random.default_rng(0).dirichlet(np.ones(10), 60).astype(np.float32)
    known, made = work.experiment, []
    experiment = Experiment(known.config, known.class_names, known.image_shape, known.load)
    for rows in (labels, labels[::-1]):
        work.run.write_arrays("teacher", probabilities=rows)
        np.testing.assert_array_equal(taught(work), rows)
        made.append(classifier_job(experiment, {}, taught=taught(work)))
        np.testing.assert_array_equal(made[-1].arrays["taught"], rows)
    np.testing.assert_array_equal(made[0].pools["x_u"], work.experiment.split.unlabeled)
    indices = {name: rows[0] for name, rows in made[0].indices(0, 0, 1).items()}
    logs, run = [], None
    for job in made:
        arguments = jax.jit(job.init_state)(), job.arrays, job.frozen, indices, jax.random.key(0)
        run = run or compiled(job.update, *arguments)
        logs.append(run(*arguments)[1])
    assert {"taught", "taught_tau"} <= set(logs[0])
    assert "pseudo" not in logs[0]
    assert abs(logs[0]["taught"] - logs[1]["taught"]) > 1e-3
    assert logs[0]["ce"] == logs[1]["ce"]


def test_labels_are_soft_or_hard_and_even_before_there_are_any(tmp_path):
    work = work_of(tmp_path, "fixmatch")
    np.testing.assert_array_equal(taught(work), np.full((60, 10), np.float32(0.1)))
    labels = np.random.default_rng(0).dirichlet(np.ones(10), 60)
    work.run.write_arrays("teacher", probabilities=labels)
    np.testing.assert_array_equal(taught(work), labels)
    work.config.teacher.hard = True
    np.testing.assert_array_equal(taught(work), np.eye(10)[labels.argmax(1)])
    work.config.teacher.method = "none"
    assert taught(work) is None
