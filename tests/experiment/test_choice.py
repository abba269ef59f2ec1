"""Choosing a method by labelled images that are left out, and who then speaks."""

from types import SimpleNamespace

import numpy as np
import pytest
from known import make_work

from scoressl_jax.experiment import choice, measure, speaker
from scoressl_jax.experiment.images import IMAGES, label, teacher_steps
from scoressl_jax.methods.baselines import fit


@pytest.fixture
def work(tmp_path):
    """Thirty labelled images of three classes, ten of each."""
    train = np.arange(60) % 3
    fields = {"teacher.method": "auto", "teacher.folds": 3}
    work = make_work(tmp_path, classes=3, train=train, labeled=np.arange(30), **fields)
    work.stop = SimpleNamespace(check=lambda: None)
    return work


@pytest.mark.parametrize(("counts", "most", "folds"), [((6, 6, 6), 3, 3), ((2, 5, 9), 3, 2), ((4, 4), 10, 4)])
def test_every_image_is_left_out_once_and_every_class_in_each_fold(counts, most, folds):
    y = np.repeat(np.arange(len(counts)), counts)
    found = choice.folds_of(y, most, 0)
    assert len(found) == folds
    assert sorted(np.concatenate(found)) == list(range(len(y)))
    for fold in found:
        assert set(y[fold]) == set(range(len(counts)))
        assert len(set(y[np.delete(np.arange(len(y)), fold)])) == len(counts)
    assert not all((a == b).all() for a, b in zip(found, choice.folds_of(y, most, 1), strict=True) if len(a) == len(b))


def test_one_label_of_a_class_is_too_few():
    assert choice.folds_of(np.array([0, 0, 0, 1]), 3, 0) == []
    found = choice.decided({})
    assert (found["speaks"], found["stop"]) == ("mean_teacher", 1.0)
    assert "too few labels" in found["why"]


def test_a_network_learns_from_the_rest_and_is_asked_about_the_fold(work, monkeypatch):
    asked = []

    def rights(experiment, labeled, left_out):
        asked.append((experiment.config.teacher.flip, set(labeled), set(left_out)))
        return np.array([[i < 9 for i in left_out], [i < 12 for i in left_out], [i < 15 for i in left_out]])

    monkeypatch.setattr(choice, "network_rights", rights)
    folds = choice.folds_of(work.experiment.dataset.y_train[:30], 3, 0)
    found = choice.tried(work.experiment, {"method": "mean_teacher", "flip": True}, folds)
    assert (found["share"], found["stop"]) == (0.5, 1.0)
    assert found["error"] == pytest.approx((0.25 / 30) ** 0.5)
    assert all(flip and learned | left == set(range(30)) and not learned & left for flip, learned, left in asked)
    assert work.experiment.config.teacher.flip is False  # the run's own config is as it was


@pytest.mark.parametrize(("shares", "best"), [((0.5, 0.6, 0.7), 2), ((0.5, 0.72, 0.7), 2), ((0.5, 0.8, 0.7), 1),
                                              ((0.9, 0.8, 0.7), 0)])  # fmt: skip
def test_it_stops_early_where_that_was_better_by_more_than_an_error(shares, best):
    assert choice.earliest(np.array(shares), 0.05) == best


def test_the_best_speaks_and_the_first_of_equals():
    of = lambda share: {"share": share, "error": 0.01, "stop": 0.5}  # noqa: E731
    found = choice.decided({"mean_teacher": of(0.8), "labels alone": of(0.8), "logistic regression": of(0.7)} | {
        name: of(0.1) for name in (*list(choice.NETWORKS)[1:3], *list(choice.NETWORKS)[4:])})  # fmt: skip
    assert (found["speaks"], found["network"], found["stop"]) == ("mean_teacher", "mean_teacher", 0.5)
    assert "2 candidates had as many" in found["why"]
    assert "mean_teacher 80.0 ± 1.0 %: the first" in found["why"]
    candidates = found["candidates"] | {"labels alone": of(0.79)}
    assert choice.decided(candidates)["why"].endswith("mean_teacher 80.0 ± 1.0 %, next labels alone 79.0 ± 1.0 %")


def fake(monkeypatch, work, best):
    """Candidates of which `best` has most right; what was tried."""
    tried = []

    def one(name):
        tried.append(name)
        return {"share": 0.9 if name == best else 0.5, "error": 0.1, "stop": 0.25, "seconds": 2.0}

    names = {str(fields): name for name, fields in choice.NETWORKS.items()}
    monkeypatch.setattr(choice, "tried", lambda experiment, fields, folds: one(names[str(fields)]))
    real = choice.tried_instead
    monkeypatch.setattr(choice, "tried_instead", lambda e, name: real(e, name) | one(
        next(n for n, of in choice.INSTEAD.items() if of == name)))  # fmt: skip
    return tried


def test_every_candidate_is_tried_once_also_when_it_was_stopped(work, monkeypatch):
    tried, left = fake(monkeypatch, work, "labels alone"), [4]

    def check():
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    work.stop = SimpleNamespace(check=check)
    with pytest.raises(KeyboardInterrupt):
        choice.choose(work)
    assert not work.finished(IMAGES.stage("choice"))
    left[0] = 100
    choice.choose(work)
    assert tried == [*choice.NETWORKS, *choice.INSTEAD]
    assert work.run.results["choice"]["seconds"] == 2.0 * 8
    assert work.finished(IMAGES.stage("choice"))
    found = choice.chosen(work).config.teacher
    assert (found.method, found.stop) == ("supervised", 0.25)


def test_what_people_use_instead_speaks_where_it_was_best(work, monkeypatch):
    fake(monkeypatch, work, "logistic regression")
    choice.choose(work)
    label(work)
    data = work.experiment.dataset
    expected = fit("logistic", data.x_train[:30], data.y_train[:30], data.x_train[30:], classes=3).predict(data.x_test)
    for found in (speaker.trained(work), speaker.opened(work.run, work.config, 3)):
        np.testing.assert_allclose(found.probabilities(data.x_test), expected, atol=1e-5)
    assert work.run.results["teacher"]["speaks"] == "logistic regression"
    kept = work.run.arrays("teacher")["probabilities"]
    np.testing.assert_allclose(kept, speaker.trained(work).probabilities(data.x_train), atol=1e-6)


def test_steps_of_a_teacher_that_was_stopped_early_count_as_all(work):
    work.run.write_config({"teacher": {"stop": 1.0, "steps": 8}}, "")
    work.run.steps_done = lambda name: 4
    work.run.write("choice.json", {"stop": 0.5})
    assert teacher_steps(work.run) == 8
    work.run.write("choice.json", {})
    assert teacher_steps(work.run) == 4


def test_the_teacher_s_accuracy_is_of_the_test_images(work, monkeypatch):
    y = work.experiment.dataset.y_test
    said = np.where(np.arange(len(y)) == 0, (y + 1) % 3, y)
    asked = lambda images: np.eye(3)[said] if images is work.experiment.dataset.x_test else None  # noqa: E731
    monkeypatch.setattr(measure, "opened", lambda *_: SimpleNamespace(probabilities=asked))
    measure.evaluate_teacher(work)
    assert work.run.results["teacher"]["accuracy"] == pytest.approx(1 - 1 / len(y))
    monkeypatch.setattr(measure, "opened", lambda *_: None)
    measure.evaluate_teacher(work)  # without one nothing is measured
