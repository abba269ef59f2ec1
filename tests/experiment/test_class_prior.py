"""The share of positives: best bin estimation against the paper's formula, its error, and the stage of a run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from scoressl_jax.data.digits import load_digits
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, class_prior, images, objective
from scoressl_jax.experiment.adopt import adopt
from scoressl_jax.experiment.class_prior import best_bin, resampled_error
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work
from scoressl_jax.training.signals import StopSignal

ESTIMATING = ("class_prior_0", "class_prior_1", "class_prior")

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


def work_of(workdir, prior=0.0, config=None):
    return Work(IMAGES, Run(workdir), build.build(config or config_of(prior)), StopSignal())


def estimate(work):
    """The stages of the estimate, as a run does them, and what it comes to."""
    for stage in work.stages():
        if stage.name in ESTIMATING:
            work.do(stage)
    return class_prior.class_prior(work)


def no_training(run, job, stop):
    raise AssertionError(f"{job.name} is trained")


@pytest.fixture(scope="module")
def estimated(tmp_path_factory, compiled):
    """(work, estimate) of a run with 300 labelled positives."""
    work = work_of(tmp_path_factory.mktemp("run"))
    return work, estimate(work)


def test_the_estimate_is_near_the_truth_and_on_record(estimated):
    work, found = estimated
    block = json.loads((work.run.workdir / "results.json").read_text())["class_prior"]
    odd = np.isin(load_digits().y_train, (1, 3, 5, 7, 9)).sum()
    assert block["true"] == pytest.approx((odd - 300) / (1437 - 300))
    assert block["estimate"] == found
    assert found == pytest.approx(block["true"], abs=0.08)
    assert block["error"] == pytest.approx(found - block["true"])
    assert 0.005 < block["standard_error"] < 0.05


def test_the_truth_is_not_told_where_labels_are_not_known(tmp_path, monkeypatch):
    split, scores = SimpleNamespace(labeled=np.arange(3), unlabeled=np.arange(3, 8)), np.arange(4.0)
    halves = dict(positive_0=scores, unlabeled_0=scores, positive_1=scores, unlabeled_1=scores)
    monkeypatch.setattr(class_prior, "halves_scored", lambda work: dict(halves))
    for hidden, told in ((0, True), (-1, False)):
        dataset = SimpleNamespace(y_train=np.array([1, 1, 1, 1, 0, 0, 0, hidden]))
        experiment = SimpleNamespace(config=config_of(), dataset=dataset, split=split)
        work = Work(IMAGES, Run(tmp_path / str(told)), experiment)
        class_prior.estimate_prior(work)
        block = work.run.results["class_prior"]
        assert ("true" in block) == ("error" in block) == told
        if told:
            assert block["true"] == pytest.approx(1 / 5)


def test_what_is_kept_are_scores_of_images_not_trained_on(estimated):
    work, found = estimated
    with np.load(work.run.workdir / "class_prior.npz") as file:
        scores = dict(file)
    error = scores.pop("standard_error")
    assert scores.pop("estimate") == found
    assert {name: array.shape for name, array in scores.items()} == {
        "positive_0": (150,), "unlabeled_0": (569,), "positive_1": (150,), "unlabeled_1": (568,)
    }  # fmt: skip
    pairs = [(scores[f"positive_{half}"], scores[f"unlabeled_{half}"]) for half in (0, 1)]
    halves = [algorithm_1(*pair) for pair in pairs]
    assert found == pytest.approx(np.mean(halves))
    apart = [resampled_error(*pair, np.random.default_rng(99)) for pair in pairs]
    assert error == pytest.approx(np.hypot(*apart) / 2, rel=0.3)  # error of the mean of the two
    hidden = work.experiment.dataset.y_train[work.experiment.split.unlabeled]
    for half in (0, 1):  # in the order of the split, positives higher
        labels = hidden[half::2]
        by_class = [np.median(scores[f"unlabeled_{half}"][labels == label]) for label in (0, 1)]
        assert by_class[1] > by_class[0] + 1


def test_a_second_call_trains_nothing_and_says_the_same(estimated, monkeypatch):
    work, found = estimated
    monkeypatch.setattr(Run, "train", no_training)
    before = (work.run.workdir / "results.json").read_text()
    assert estimate(work_of(work.run.workdir)) == found
    assert (work.run.workdir / "results.json").read_text() == before


@pytest.fixture
def priors(monkeypatch):
    """(work) -> the prior that the objective of its classifier has."""
    seen = []
    made = objective.Objective
    monkeypatch.setattr(objective, "Objective", lambda **fields: seen.append(made(**fields)) or seen[-1])
    monkeypatch.setattr(Work, "params", lambda work, name: {})

    def prior(work):
        images.make_classifier_job(work)
        return seen[-1].prior

    return prior


def test_the_objective_receives_the_estimate(estimated, priors):
    work, found = estimated
    assert priors(work_of(work.run.workdir)) == (1 - found, found)


def test_a_given_prior_needs_no_estimate(tmp_path, priors):
    work = work_of(tmp_path, prior=0.25)
    assert priors(work) == (0.75, 0.25)
    assert not {stage.name for stage in work.stages()} & set(ESTIMATING)
    assert IMAGES.stage("classifier").needs(work.config) == ("score",)
    assert not (tmp_path / "class_prior.npz").exists()


def test_before_there_is_an_estimate_a_half_stands_for_it(tmp_path, priors):
    """As in --mode=check; a classifier is not trained so, because it needs the estimate."""
    work = work_of(tmp_path)
    assert priors(work) == (0.5, 0.5)
    for name, needed in (("class_prior", "class_prior_0"), ("classifier", "class_prior")):
        for stage in ("score", *(("class_prior_0", "class_prior_1") if name == "classifier" else ())):
            steps = 40 if stage == "score" else 400
            (tmp_path / "checkpoints" / stage / str(steps)).mkdir(parents=True, exist_ok=True)
        with pytest.raises(UserError, match=f"stage {needed} of .* is not finished: run --mode=train_classifier"):
            work.require(IMAGES.stage(name))


def test_other_regimes_have_none():
    work = SimpleNamespace(config=tiny.get_config())
    assert class_prior.class_prior(work) is None


# Going on with a run


@pytest.fixture
def go_on(tmp_path):
    """(config before, config now) -> files of its run that are there, after it is adopted by the second."""

    def adopted(before, now):
        for folder in ("checkpoints/class_prior_0", "checkpoints/class_prior_1", "checkpoints/classifier"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "class_prior.npz").touch()
        (tmp_path / "config.json").unlink(missing_ok=True)
        adopt(work_of(tmp_path, config=before), "")
        adopt(work_of(tmp_path, config=now), "")
        return Run(tmp_path).has("class_prior.npz", "checkpoints/class_prior_0", "checkpoints/classifier")

    return adopted


def changed(prior=0.0, **evaluation):
    config = config_of(prior)
    config.evaluation.update(evaluation)
    return config


def test_scores_of_other_classifiers_are_not_reused(go_on):
    """The classifiers are of the judge's kind: its fields change an estimate, and nothing where the prior is given."""
    changes = dict(judge_depth=10, judge_widen=2, judge_patch=2, judge_learning_rate=0.1, batch_size=32)
    for field, value in changes.items():
        with pytest.raises(UserError, match=rf"evaluation.{field} .* delete checkpoints/class_prior_") as error:
            go_on(changed(), changed(**{field: value}))
        made = "checkpoints/class_prior_0, checkpoints/class_prior_1, class_prior.npz, checkpoints/classifier"
        assert f"delete {made} there" in str(error.value)
        assert go_on(changed(0.3), changed(0.3, **{field: value})) == ["checkpoints/classifier"], "moved aside"


def test_more_steps_of_the_classifiers_ask_for_a_new_estimate_and_a_given_prior_for_a_new_classifier(go_on):
    config = config_of()
    config.data.prior_steps = 401
    with pytest.raises(UserError, match="class_prior.npz"):
        go_on(config_of(), config)
    with pytest.raises(UserError, match=r"delete checkpoints/classifier there"):
        go_on(config_of(), config_of(0.3))


def test_two_images_of_either_kind_are_needed():
    config = config_of()
    config.data.num_positive = 1
    with pytest.raises(UserError, match="1 labelled positives and 1436 unlabelled images"):
        build.build(config)
    config.data.class_prior = 0.4
    build.build(config)
