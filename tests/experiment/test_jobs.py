"""Batches, which labels training may see, and what each job is trained on."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from small import QUICK

from scoressl_jax.experiment import build, fields, jobs
from scoressl_jax.experiment.class_prior import positive_job
from scoressl_jax.experiment.config import FIELDS, default_config
from scoressl_jax.experiment.jobs import classifier_job, make_batch_fn, score_job
from scoressl_jax.experiment.judge import judge_job
from scoressl_jax.experiment.objective import build_objective
from scoressl_jax.files import flat


def batch_of(key=0, **changes):
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4, 1)
    arrays = {"x": images, "y": np.array([3, -1, -1, -1, 4, -1]), "y_hidden": np.array([3, 0, 1, 2, 4, 5])}
    indices = {"x": jnp.array([0, 4]), "x_u": jnp.array([1, 3, 5])}
    arrays = jax.tree.map(jnp.asarray, arrays)
    return images, make_batch_fn(**changes)(arrays, indices, jax.random.key(key))


def test_batches_hold_the_images_in_unit_range_and_hidden_labels_for_unlabelled_ones_alone():
    images, batch = batch_of()
    np.testing.assert_allclose(batch["x"], images[[0, 4]] / 255.0, rtol=1e-6)
    np.testing.assert_allclose(batch["x_u"], images[[1, 3, 5]] / 255.0, rtol=1e-6)
    assert batch["y"].tolist() == [3, 4]
    assert batch["y_u"].tolist() == [0, 2, 5]


def test_flips_are_drawn_image_by_image():
    seen = set()
    for key in range(8):
        images, batch = batch_of(flip=True, key=key)
        for image, got in zip(images[[0, 4]], batch["x"], strict=True):
            flipped = np.allclose(got, image[:, ::-1] / 255.0)
            assert flipped or np.allclose(got, image / 255.0)
            seen.add(flipped)
    assert seen == {True, False}


def test_the_prior_that_the_objective_is_given():
    assert build_objective(default_config(), None, 0.25).prior == (0.75, 0.25)
    assert build_objective(default_config(), None).prior is None


def test_what_estimates_the_class_prior_is_trained_on_half_of_the_images():
    """Positives as often as unlabelled images, none of the half that is scored; the labels say which are labelled."""
    config = default_config()
    split = SimpleNamespace(labeled=np.array([1, 4, 6]), unlabeled=np.array([0, 2, 3, 5, 7, 8, 9]))
    dataset = SimpleNamespace(x_train=np.zeros((10, 4, 4, 1), np.uint8), y_train=np.arange(10))
    y_visible = np.where(np.isin(np.arange(10), split.labeled), 1, -1)
    experiment = SimpleNamespace(config=config, dataset=dataset, split=split, y_visible=y_visible)
    for half, (positive, unlabeled) in enumerate(([(1, 6), (0, 3, 7, 9)], [(4,), (2, 5, 8)])):
        job = positive_job(experiment, half)
        labels = job.arrays["y"]
        assert labels.tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 0, 0]
        drawn = job.pools["x"]
        assert set(drawn) == {*positive, *unlabeled}
        assert sorted(drawn[labels[drawn] == 0]) == list(unlabeled)
        assert (labels[drawn] == 1).sum() == len(unlabeled)
        assert (job.name, job.steps) == (f"class_prior_{half}", config.data.prior_steps)


def test_judges_learn_from_images_changed_as_the_classifier_s_and_the_estimators_of_the_prior_do_not(monkeypatch):
    asked = []
    monkeypatch.setattr(jobs, "make_batch_fn", lambda **changes: asked.append(changes))
    config = tiny.get_config()
    config.score.random_flip = True
    config.classifier.update(random_flip=True, random_shift=1, random_affine=0.1)
    experiment = build.build(config)
    classifiers = dict(flip=True, shift=1, affine=0.1)
    for make, changes in (
        (lambda: score_job(experiment), dict(flip=True)),
        (lambda: classifier_job(experiment, {}), classifiers),
        (lambda: judge_job(experiment), classifiers),
        (lambda: positive_job(experiment, 0), {}),
    ):
        make()
        assert asked.pop() == changes
    config.score.random_flip = False
    score_job(experiment)
    assert asked == [dict(flip=False)]


def test_a_job_names_the_field_of_its_learning_rate():
    experiment = build.build(tiny.get_config())
    named, found = [], (score_job(experiment), classifier_job(experiment, {}), judge_job(experiment))
    for job in (*found, positive_job(experiment, 0)):
        rate = re.fullmatch(r"lower config\.(\S+) or allow config\.training\.max_rollbacks", job.remedy)[1]
        assert isinstance(fields.get(experiment.config, rate), float)
        named.append(rate)
    judged = "evaluation.judge_learning_rate"
    assert named == ["score.learning_rate", "classifier.learning_rate", judged, judged]


def test_a_job_trains_as_long_and_as_often_saved_as_its_fields_say():
    config = tiny.get_config()
    config.seed = 3
    config.score.steps, config.classifier.steps, config.evaluation.judge_steps = 5, 6, 7
    config.training.update(steps_per_call=11, checkpoint_every=12, max_rollbacks=13)
    experiment = build.build(config)
    config.data.prior_steps = 8
    made = [score_job(experiment), classifier_job(experiment, {}), judge_job(experiment), positive_job(experiment, 1)]
    assert {job.name: job.steps for job in made} == {"score": 5, "classifier": 6, "judge": 7, "class_prior_1": 8}
    for job in made:
        assert (job.seed, job.steps_per_call, job.checkpoint_every, job.max_rollbacks) == (3, 11, 12, 13)
    assert [name for name, field in flat(FIELDS["training"]) if not field.free] == []


def test_training_begins_with_the_weights_that_it_is_given():
    experiment = build.build(tiny.get_config())
    for make in (lambda start: score_job(experiment, start), lambda start: classifier_job(experiment, {}, start=start)):
        own = jax.eval_shape(make(None).init_state).params
        given = jax.tree.map(lambda leaf: np.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape), own)
        state = make(given).init_state()
        for params in (state.ema_params, state.params):
            jax.tree.map(np.testing.assert_array_equal, params, given)
        assert state.step == 0


def test_sparing_the_score_network_at_tau_changes_what_is_seen_there_a_little_and_nothing_else():
    config = tiny.get_config()
    config.classifier.steps, config.classifier.temporal_delta = 1, 0.05
    logs = []
    for denoise_tau in (True, False):
        config.classifier.denoise_tau = denoise_tau
        experiment = build.build(config)
        params = score_job(experiment).init_state().params
        job = classifier_job(experiment, params)
        indices = jax.tree.map(lambda found: found[0], job.indices(0, 0, 1))
        state = job.init_state()
        arguments = state, job.arrays, params, indices, jax.random.key(0)
        logs.append(jax.jit(job.update).lower(*arguments).compile(compiler_options=QUICK)(*arguments)[1])
    for name in ("ce", "temporal"):
        assert logs[0][name] == pytest.approx(float(logs[1][name]), rel=1e-5)
    assert logs[0]["ce_tau"] == pytest.approx(float(logs[1]["ce_tau"]), rel=1e-2)
    assert logs[0]["ce_tau"] != logs[1]["ce_tau"]
