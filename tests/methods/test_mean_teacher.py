import pytest
from fake_learner import (
    AVERAGE,
    BATCH,
    assert_close,
    cross_entropy,
    one_hot,
    predicted,
    run,
    squared_difference,
    strong,
    weak,
)

from scoressl_jax.methods.mean_teacher import MeanTeacher

TARGETS = predicted(weak(BATCH["x_u"]), AVERAGE)


@pytest.mark.parametrize(("strong_student", "of_student"), [(True, strong), (False, weak)])
def test_the_student_learns_what_the_average_says_of_the_weak_copy(strong_student, of_student):
    ce = cross_entropy(of_student(BATCH["x"]), one_hot(BATCH["y"]))
    same = squared_difference(of_student(BATCH["x_u"]), TARGETS)
    found, logs, memory = run(MeanTeacher(weight=4.0, strong=strong_student))
    assert_close(found, ce + 4 * same)
    of_itself = squared_difference(of_student(BATCH["x_u"]), predicted(weak(BATCH["x_u"])))
    assert abs(same - of_itself).max() > 0.01
    expected = [ce[0], same[0], TARGETS.max(1).mean()]
    assert_close([logs[name] for name in ("ce", "consistency", "confidence")], expected)
    assert memory == ()


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (0.6, 1.0)])
def test_the_weight_rises_linearly(progress, share):
    ce = cross_entropy(strong(BATCH["x"]), one_hot(BATCH["y"]))
    same = squared_difference(strong(BATCH["x_u"]), TARGETS)
    assert_close(run(MeanTeacher(weight=4.0, warm_up=0.2), progress)[0], ce + 4 * share * same)


def test_the_student_sees_its_images_at_once():
    shown = []
    run(MeanTeacher(), shown=shown)
    assert set(shown) == {3 + 5}


def test_paper():
    """USB's yaml: unlabelled images as the batch of 64, weight 50, warm-up .4; both augmented weakly."""
    assert MeanTeacher.PAPER == {
        "unlabeled_batch_size": 64,
        "mean_teacher.weight": 50.0,
        "mean_teacher.warm_up": 0.4,
        "mean_teacher.strong": False,
    }
