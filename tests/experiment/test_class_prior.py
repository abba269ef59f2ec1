"""The share of positives: best bin estimation against the paper's formula, its error, and the stage of a run."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, class_prior, jobs, pipeline
from scoressl_jax.experiment.adoption import adopt_config
from scoressl_jax.experiment.class_prior import best_bin, resampled_error
from scoressl_jax.experiment.runs import Run
from scoressl_jax.training.signals import StopSignal

# The estimate, against algorithm 1 of Garg et al. 2021 and by hand


def algorithm_1(positive, unlabeled, delta=0.1, gamma=0.01):
    """The ratio at the threshold c with the least q_u(c) / q_p(c) + (1 + gamma) / q_p(c) (sqrt(log(4 / delta) / 2 n_u)
    + sqrt(log(4 / delta) / 2 n_p)), where q(c) is the share of scores z >= c."""
    best = np.inf, None
    for c in (-np.inf, *positive, *unlabeled):
        q_p, q_u = (sum(z >= c for z in scores) / len(scores) for scores in (positive, unlabeled))
        if q_p > 0:
            slack = sum(np.sqrt(np.log(4 / delta) / (2 * len(scores))) for scores in (positive, unlabeled))
            best = min(best, (q_u / q_p + (1 + gamma) / q_p * slack, q_u / q_p))
    return best[1]


@pytest.mark.parametrize("digits", [None, 0], ids=["distinct scores", "ties"])
@pytest.mark.parametrize(("p", "u"), [(1, 1), (2, 5), (7, 3), (40, 90), (150, 60)])
def test_best_bin_is_the_algorithm(p, u, digits):
    rng, found = np.random.default_rng([p, u]), set()
    for _ in range(20):
        positive, others = rng.normal(2, 1, p), rng.normal(0, 1, u)
        unlabeled = np.where(rng.random(u) < 0.4, rng.normal(2, 1, u), others)
        if digits is not None:
            positive, unlabeled = positive.round(digits), unlabeled.round(digits)
        found.add(best_bin(positive, unlabeled))
        assert best_bin(positive, unlabeled) == pytest.approx(algorithm_1(positive, unlabeled), abs=1e-12)
    assert len(found) > 1


def test_best_bin_of_scores_that_tell_all_apart_is_the_share():
    rng = np.random.default_rng(0)
    positive = rng.uniform(1, 2, 50)
    for many in (0, 1, 17, 200):
        unlabeled = np.concatenate([rng.uniform(2, 3, many), rng.uniform(-1, 0.9, 200 - many)])
        assert best_bin(positive, unlabeled) == pytest.approx(many / 200)
    assert best_bin(positive, positive) == 1
    assert best_bin(np.ones(3), np.array([1.0, 0, 0, 0])) == 0.25
    assert best_bin(np.zeros(3), np.zeros(4)) == 1, "nothing is told apart"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_best_bin_of_two_gaussians(share):
    """Three deviations apart; among so many scores the bin has few negatives: near the share, hardly below it."""
    rng = np.random.default_rng(1)

    def draw():
        is_positive = rng.random(8000) < share
        return best_bin(rng.normal(3, 1, 4000), np.where(is_positive, rng.normal(3, 1, 8000), rng.normal(0, 1, 8000)))

    found = np.array([draw() for _ in range(20)])
    assert found.mean() == pytest.approx(share, abs=0.03)
    assert found.std() < 0.03


def test_resampled_error_is_about_the_spread_over_fresh_draws():
    rng = np.random.default_rng(2)

    def draw():
        is_positive = rng.random(600) < 0.4
        return rng.normal(3, 1, 300), np.where(is_positive, rng.normal(3, 1, 600), rng.normal(0, 1, 600))

    spread = np.std([best_bin(*draw()) for _ in range(300)])
    errors = [resampled_error(*draw(), np.random.default_rng(seed)) for seed in range(20)]
    assert 0.7 < np.mean(errors) / spread < 1.4
    scores = draw()
    again = [resampled_error(*scores, np.random.default_rng(0)) for _ in range(2)]
    assert again[0] == again[1]


# The stage


def config_of(prior=0.0):
    config = tiny.get_config()
    config.regime, config.classifier.terms.prior = "pu", 1.0
    config.data.update(positive_classes=(1, 3, 5, 7, 9), num_positive=300, class_prior=prior, prior_steps=400)
    # Without blocks, on patches of half an image, it compiles fast and still tells digits apart.
    config.evaluation.update(judge_depth=4, judge_patch=4, batch_size=64, judge_learning_rate=2e-2)
    config.training.update(steps_per_call=100, checkpoint_every=1000)
    return config


def run_of(workdir, prior=0.0):
    return Run(Path(workdir), build.build(config_of(prior)), StopSignal())


def no_training(run, job):
    raise AssertionError(f"{job.name} is trained")


@pytest.fixture(scope="module")
def estimated(tmp_path_factory, compiled):
    """(run, estimate) of a run with 300 labelled positives."""
    run = run_of(tmp_path_factory.mktemp("run"))
    return run, class_prior.class_prior(run)


def test_the_estimate_is_near_the_truth_and_on_record(estimated):
    run, estimate = estimated
    block = json.loads((run.workdir / "results.json").read_text())["class_prior"]
    odd = np.isin(np.concatenate([build.load_dataset(run.config).y_train]), (1, 3, 5, 7, 9)).sum()
    assert block["true"] == pytest.approx((odd - 300) / (1437 - 300))
    assert block["estimate"] == estimate
    assert estimate == pytest.approx(block["true"], abs=0.08)
    assert block["error"] == pytest.approx(estimate - block["true"])
    assert 0.005 < block["standard_error"] < 0.05


def test_what_is_kept_are_scores_of_images_not_trained_on(estimated):
    run, estimate = estimated
    with np.load(run.workdir / "class_prior.npz") as file:
        scores = dict(file)
    error = scores.pop("standard_error")
    assert scores.pop("estimate") == estimate
    assert {name: array.shape for name, array in scores.items()} == {
        "positive_0": (150,), "unlabeled_0": (569,), "positive_1": (150,), "unlabeled_1": (568,)
    }  # fmt: skip
    pairs = [(scores[f"positive_{half}"], scores[f"unlabeled_{half}"]) for half in (0, 1)]
    halves = [algorithm_1(*pair) for pair in pairs]
    assert estimate == pytest.approx(np.mean(halves))
    apart = [resampled_error(*pair, np.random.default_rng(99)) for pair in pairs]
    assert error == pytest.approx(np.hypot(*apart) / 2, rel=0.3)  # error of the mean of the two
    hidden = run.experiment.dataset.y_train[run.experiment.split.unlabeled]
    for half in (0, 1):  # in the order of the split, positives higher
        labels = hidden[half::2]
        by_class = [np.median(scores[f"unlabeled_{half}"][labels == label]) for label in (0, 1)]
        assert by_class[1] > by_class[0] + 1


def test_a_second_call_trains_nothing_and_says_the_same(estimated, monkeypatch):
    run, estimate = estimated
    monkeypatch.setattr(class_prior, "train_stage", no_training)
    before = (run.workdir / "results.json").read_text()
    assert class_prior.class_prior(run_of(run.workdir)) == estimate
    assert (run.workdir / "results.json").read_text() == before


@pytest.fixture
def priors(monkeypatch):
    """(run) -> the prior that the objective of its classifier has."""
    seen = []
    objective = jobs.Objective
    monkeypatch.setattr(jobs, "Objective", lambda *args: seen.append(objective(*args)) or seen[-1])
    monkeypatch.setattr(pipeline, "train_stage", lambda run, job: ({}, {}))

    def prior(run):
        run.params["score"] = {}
        pipeline.train_classifier(run)
        return seen[-1].prior

    return prior


def test_the_objective_receives_the_estimate(estimated, priors, monkeypatch):
    run, estimate = estimated
    monkeypatch.setattr(class_prior, "train_stage", no_training)
    assert priors(run_of(run.workdir)) == (1 - estimate, estimate)


def test_a_given_prior_needs_no_estimate(tmp_path, priors, monkeypatch):
    monkeypatch.setattr(class_prior, "train_stage", no_training)
    assert priors(run_of(tmp_path, prior=0.25)) == (0.75, 0.25)
    assert not (tmp_path / "class_prior.npz").exists()
    assert "class_prior" not in json.loads((tmp_path / "results.json").read_text())


def test_other_regimes_have_none(tmp_path):
    run = SimpleNamespace(config=tiny.get_config(), workdir=tmp_path)
    assert class_prior.class_prior(run) is None


# Going on with a run


def test_scores_of_other_classifiers_are_not_reused(tmp_path):
    """The classifiers are of the judge's kind: its fields change an estimate, and nothing where the prior is given."""
    for name in ("class_prior.npz", "checkpoints/class_prior_0", "checkpoints/classifier"):
        (tmp_path / name).mkdir(parents=True)

    def go_on(config, field, value):
        (tmp_path / "config.json").write_text(config.to_json())
        config.evaluation[field] = value
        adopt_config(config, tmp_path, None)

    changes = dict(judge_depth=10, judge_widen=2, judge_patch=2, judge_learning_rate=0.1, batch_size=32)
    for field, value in changes.items():
        with pytest.raises(UserError, match=rf"evaluation.{field} .* delete checkpoints/class_prior_") as error:
            go_on(config_of(), field, value)
        assert "class_prior.npz, checkpoints/classifier*" in str(error.value)
        go_on(config_of(prior=0.3), field, value)


def test_more_steps_of_the_classifiers_ask_for_a_new_estimate_and_a_given_prior_for_a_new_classifier(tmp_path):
    for name in ("class_prior.npz", "checkpoints/classifier"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "config.json").write_text(config_of().to_json())
    config = config_of()
    config.data.prior_steps = 401
    with pytest.raises(UserError, match="class_prior.npz"):
        adopt_config(config, tmp_path, None)
    with pytest.raises(UserError, match=r"delete checkpoints/classifier\* there"):
        adopt_config(config_of(0.3), tmp_path, None)


def test_two_images_of_either_kind_are_needed():
    config = config_of()
    config.data.num_positive = 1
    with pytest.raises(UserError, match="1 labelled positives and 1436 unlabelled images"):
        build.build(config)
    config.data.class_prior = 0.4
    build.build(config)
