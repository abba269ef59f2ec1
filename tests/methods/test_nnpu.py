import pytest
from fake_learner import BATCH, SIZES, assert_close, run, strong, weak
from log_odds import LOSSES, partial_risks

from scoressl_jax.methods.nnpu import NNPU

X, X_U = BATCH["x"], BATCH["x_u"]


def found_and_expected(prior, strong_too=True, batch=BATCH, **fields):
    """(loss and gradient, logs) of the method, and both partial risks."""
    method, augment = NNPU(strong=strong_too, **fields), strong if strong_too else weak
    kind = "logistic" if method.logistic else "sigmoid"
    expected = partial_risks(augment(batch["x"]), augment(batch["x_u"]), prior, kind)
    return run(method, memory=method.start(SIZES._replace(prior=prior)), batch=batch)[:2], expected


@pytest.mark.parametrize("kind", LOSSES)
def test_where_negatives_cost_enough_it_is_the_unbiased_risk(kind):
    (found, logs), (of_positives, of_negatives) = found_and_expected(0.1, logistic=kind == "logistic")
    assert of_negatives[0] > 0
    assert_close(found, of_positives + of_negatives)
    assert_close([logs["positives"], logs["negatives"]], [of_positives[0], of_negatives[0]])


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(("beta", "gamma"), [(0.0, 1.0), (0.03, 0.6)])
def test_where_they_cost_too_little_steps_go_the_other_way(kind, beta, gamma):
    """The value is that of -beta, the gradient -gamma times that of the negatives alone."""
    batch = BATCH | {"x": 0.2 * X, "x_u": 2 * X_U}
    given = dict(logistic=kind == "logistic", beta=beta, gamma=gamma)
    (found, _), (of_positives, of_negatives) = found_and_expected(1.0, batch=batch, **given)
    assert of_negatives[0] < -beta, "a batch that shows it"
    assert found[0] == pytest.approx(of_positives[0] - beta)
    assert_close(found[1:], -gamma * of_negatives[1:])


def test_a_large_beta_lets_the_risk_fall():
    (found, _), risks = found_and_expected(1.0, beta=100.0)
    assert_close(found, sum(risks))


def test_images_may_be_weakly_augmented():
    (found, _), risks = found_and_expected(0.1, strong_too=False)
    assert_close(found, sum(risks))


def test_paper():
    method = NNPU()
    assert (method.beta, method.gamma, method.logistic) == (0, 1, False)
    assert NNPU.PAPER["nnpu.strong"] is False
    assert "upu.strong" not in NNPU.PAPER
    assert NNPU.needs_prior
