"""Teachers of positive and unlabelled images: what they learn from, the class prior that they are told, and c."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from scipy.special import softmax
from small import stripes

from scoressl_jax.commands.run import MODES
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, images, speaker
from scoressl_jax.experiment.adopt import adopt
from scoressl_jax.experiment.data import is_estimated
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.jobs import teacher_job
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work, execute
from scoressl_jax.experiment.teacher import PU_METHODS, Teacher, divided, needs_prior
from scoressl_jax.methods.pvu import PvU

ESTIMATING = {"class_prior_0", "class_prior_1", "class_prior"}
TOLD = ("upu", "nnpu", "punce")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """60 images, a third of them of the class that counts as positive; the last 10 of these are unlabelled."""
    path = tmp_path_factory.mktemp("data") / "own.npz"
    np.savez(path, **stripes())
    return path


@pytest.fixture
def config_of(path):
    def config_of(method, prior=0.2, **data):
        config = tiny.get_config()
        config.regime, config.data.name, config.data.path, config.data.num_labels = "pu", "npz", str(path), 100
        config.data.update(positive_classes=("0",), class_prior=prior, prior_steps=4, **({"num_positive": 10} | data))
        config.teacher.update(method=method, depth=4, patch=4, batch_size=8, unlabeled_batch_size=16)
        config.teacher.update(steps=10, warmup=0, learning_rate=0.03, ema=0.5)
        config.evaluation.update(judge_depth=4, judge_patch=4, batch_size=16, k=1)
        return config

    return config_of


@pytest.fixture
def work_of(config_of, tmp_path):
    def work_of(method, **options):
        config = config_of(method, **options)
        return Work(IMAGES, Run(tmp_path / "run"), build.build(config), mode="train_teacher")

    return work_of


# What it learns from


def test_some_positives_are_held_out_and_never_learnt_from(work_of):
    experiment = work_of("pvu").experiment
    job, labeled = teacher_job(experiment), set(experiment.split.labeled)
    _, left_out = divided(PvU(), experiment.split.labeled, 0)
    assert len(left_out) == 1
    assert set(job.pools["x"]) == labeled - set(left_out)
    assert set(job.pools["x_u"]) == set(range(60)) - labeled
    y = job.arrays["y"]
    assert set(np.flatnonzero(y == 1)) == labeled - set(left_out)
    assert (np.delete(y, np.flatnonzero(y == 1)) == -1).all()
    assert job.init_state().memory["share"] == pytest.approx(9 / 60)


@pytest.mark.parametrize("method", TOLD)
def test_others_learn_from_all_labelled_positives_and_are_told_the_prior(work_of, method):
    experiment = work_of(method).experiment
    job = teacher_job(experiment, prior=0.3)
    assert set(job.pools["x"]) == set(experiment.split.labeled)
    assert set(job.pools["x_u"]) == set(experiment.split.unlabeled)
    assert job.init_state().memory["prior"] == pytest.approx(0.3)


@pytest.mark.parametrize(("count", "share", "held"), [(1000, 0.1, 100), (10, 0.25, 2), (2, 0.1, 1), (3, 0.9, 2)])
def test_how_many_are_held_out(count, share, held):
    labeled = np.arange(5, 5 + count)
    found = divided(PvU(held_out=share), labeled, 0)
    assert [len(part) for part in found] == [count - held, held]
    assert sorted(np.concatenate(found)) == list(labeled)


def test_which_are_held_out_is_drawn_by_the_seed():
    labeled = np.arange(200)
    seeds = [tuple(divided(PvU(), labeled, seed)[1]) for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert seeds[0] != tuple(range(20))
    for method in PU_METHODS.values():
        if method is not PvU:
            assert [len(part) for part in divided(method(), labeled, 0)] == [200, 0]


def test_one_labelled_positive_is_too_few_for_both(work_of):
    with pytest.raises(UserError, match=r"config\.teacher\.method pvu .* give two or more"):
        work_of("pvu", num_positive=1)
    work_of("pvu", num_positive=2)
    work_of("nnpu", num_positive=1)


# The class prior


@pytest.mark.parametrize("method", [*PU_METHODS, "none"])
@pytest.mark.parametrize(("prior", "term"), [(0.0, 0.0), (0.2, 0.0), (0.0, 1.0)])
def test_the_prior_is_estimated_where_it_is_needed_and_not_given(config_of, method, prior, term):
    config = config_of(method, prior)
    config.classifier.terms.prior = term
    assert needs_prior(config) == (method in TOLD)
    assert is_estimated(config) == (prior == 0 and (method in TOLD or term > 0))
    before = {stage.name for stage in IMAGES.before(IMAGES.stage("teacher"), config)}
    assert before == (ESTIMATING if method in TOLD and prior == 0 else set())
    for name in ESTIMATING:
        stage = IMAGES.stage(name)
        assert stage.applies(SimpleNamespace(config=config)) == is_estimated(config)
        assert {mode for mode in MODES if stage.is_of(mode)} == {"train_classifier", "train_teacher"}


def test_another_prior_is_another_teacher():
    for name in ("teacher", "choice"):
        assert "data.class_prior" in IMAGES.stage(name).reads


@pytest.fixture
def priors(monkeypatch):
    """The priors that jobs of teachers are given."""
    seen = []

    def make(experiment, prior):
        seen.append(prior)
        return teacher_job(experiment, prior=prior)

    monkeypatch.setattr(images, "teacher_job", make)
    return seen


def test_the_stage_tells_the_prior_that_is_given_or_estimated(work_of, priors):
    work_of("nnpu").kind.stage("teacher").job(work_of("nnpu"))
    unknown = work_of("nnpu", prior=0.0)
    unknown.kind.stage("teacher").job(unknown)  # as in --mode=check
    unknown.run.write_arrays("class_prior", estimate=0.35)
    unknown.kind.stage("teacher").job(unknown)
    assert priors == [0.2, 0.5, 0.35]


def test_the_mode_of_the_teacher_estimates_it_first(work_of, priors, compiled):
    work = work_of("nnpu", prior=0.0)
    adopt(work, "")
    execute(IMAGES, "train_teacher", work)
    assert work.run.has("checkpoints/class_prior_0", "checkpoints/class_prior_1", "class_prior.npz", "teacher.npz")
    estimate = float(work.run.arrays("class_prior")["estimate"])
    assert set(priors) == {estimate}
    p = work.run.arrays("teacher")["probabilities"]
    assert p.shape == (60, 2)
    assert "calibration" not in work.run.arrays("teacher")
    found = speaker.opened(work.run, work.config, 2).probabilities(work.experiment.dataset.x_train)
    np.testing.assert_allclose(found, p, atol=1e-6)


# c


def test_probabilities_are_g_over_c_now_and_when_the_run_is_opened(work_of, compiled):
    work = work_of("pvu")
    adopt(work, "")
    execute(IMAGES, "train_teacher", work)
    data, split, kept = work.experiment.dataset, work.experiment.split, work.run.arrays("teacher")
    _, left_out = divided(PvU(), split.labeled, work.config.seed)
    network = speaker.network_of(work.config, 2, (8, 8, 1))
    g = softmax(Teacher.on(network, work.run.params("teacher"), data.x_train).outputs(data.x_train)["logits"], -1)[:, 1]
    c = g[left_out].mean()
    assert kept["calibration"] == pytest.approx(c, rel=1e-5)
    assert kept["calibration"] != pytest.approx(g[split.labeled].mean(), rel=1e-5)
    expected = np.minimum(g / c, 1)
    assert np.unique(expected.round(5)).size > 3
    for p in (kept["probabilities"], speaker.opened(Run(work.run.workdir), work.config, 2).probabilities(data.x_train)):
        np.testing.assert_allclose(p, np.stack([1 - expected, expected], 1), atol=1e-5)
