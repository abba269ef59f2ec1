from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.losses import positive_unlabeled

prior_cross_entropy = jax.jit(positive_unlabeled.prior_cross_entropy)


def test_prior_cross_entropy_by_hand():
    p = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])  # average 0.5, 0.5
    found = prior_cross_entropy(np.log(p), jnp.asarray([0.3, 0.7]))
    assert found == pytest.approx(np.log(2), rel=1e-5)
    p = np.asarray([[0.9, 0.1], [0.7, 0.3]])  # average 0.8, 0.2
    found = prior_cross_entropy(np.log(p), jnp.asarray([0.3, 0.7]))
    assert found == pytest.approx(-0.3 * np.log(0.8) - 0.7 * np.log(0.2), rel=1e-5)


def test_average_of_probabilities_not_of_logits():
    """Confident and divided is not the same as undecided, unless the average is taken first."""
    divided, undecided = jnp.asarray([[8.0, 0.0], [0.0, 8.0]]), jnp.zeros((2, 2))
    prior = jnp.asarray([0.5, 0.5])
    assert prior_cross_entropy(divided, prior) == pytest.approx(float(prior_cross_entropy(undecided, prior)), rel=1e-5)


def test_prior_cross_entropy_is_least_where_the_average_is_the_prior():
    prior = np.asarray([0.2, 0.3, 0.5])
    spread = np.random.default_rng(0).normal(scale=0.05, size=(4, 3))
    spread -= spread.mean(0)
    spread -= spread.mean(1, keepdims=True)
    logits = jnp.asarray(np.log(prior + spread), jnp.float32)  # every row sums to 1, the average is the prior
    value, grad = jax.jit(jax.value_and_grad(prior_cross_entropy))(logits, jnp.asarray(prior))
    assert value == pytest.approx(-(prior * np.log(prior)).sum(), rel=1e-5)
    np.testing.assert_allclose(grad, 0, atol=1e-6)
    for shift in np.eye(3):
        assert prior_cross_entropy(logits + shift, jnp.asarray(prior)) > value + 0.01


def test_an_absent_class_costs_a_finite_amount():
    found = prior_cross_entropy(jnp.asarray([[1e4, 0.0]]), jnp.asarray([0.5, 0.5]))
    assert found == pytest.approx(-0.5 * np.log(1e-8), rel=1e-3)


# Risks


MARGIN = {"sigmoid": lambda z: 1 / (1 + np.exp(z)), "logistic": lambda z: np.log1p(np.exp(-z))}
OVERFITTED = np.array([3.0, 2.5, 4.0]), np.array([-3.0, -2.0, -4.0, 1.0, -2.5])
EVEN = np.array([1.0, -0.5, 0.3]), np.array([0.8, -0.7, 1.5, 0.1])


def numpy_risks(positive, unlabeled, prior, kind):
    loss = MARGIN[kind]
    return prior * loss(positive).mean(), loss(-unlabeled).mean() - prior * loss(-positive).mean()


@pytest.mark.parametrize("kind", MARGIN)
@pytest.mark.parametrize(("positive", "unlabeled"), [OVERFITTED, EVEN])
def test_unbiased_risk_is_numpys_and_may_be_negative(kind, positive, unlabeled):
    found = jax.jit(partial(positive_unlabeled.upu_risk, kind=kind))(positive, unlabeled, 0.6)
    np.testing.assert_allclose(found, sum(numpy_risks(positive, unlabeled, 0.6, kind)), rtol=1e-5)


def test_unbiased_risk_is_that_of_positives_and_negatives():
    """In the mean over many: pi E_P l(f) + (1 - pi) E_N l(-f)."""
    rng = np.random.default_rng(0)
    p, n, prior = rng.normal(1, 1, 400_000), rng.normal(-1, 1, 700_000), 0.3
    mixed = np.concatenate([p[:300_000], n])
    for kind, loss in MARGIN.items():
        expected = prior * loss(p).mean() + (1 - prior) * loss(-n).mean()
        found = positive_unlabeled.upu_risk(p[100_000:], mixed, prior, kind)
        assert found == pytest.approx(expected, abs=5e-3)


def slopes(risk, positive, unlabeled, step=1e-6):
    """Central differences of a NumPy function in every score."""
    found = []
    for which, scores in enumerate((positive, unlabeled)):
        both = [positive, unlabeled]
        moved = []
        for i in range(len(scores)):
            ends = []
            for sign in (1, -1):
                both[which] = scores + sign * step * np.eye(len(scores))[i]
                ends.append(risk(*both))
            moved.append((ends[0] - ends[1]) / (2 * step))
        found.append(np.array(moved))
    return found


@pytest.mark.parametrize("kind", MARGIN)
@pytest.mark.parametrize(("beta", "gamma"), [(0.0, 1.0), (0.05, 0.7), (5.0, 0.7)])
@pytest.mark.parametrize(("positive", "unlabeled"), [OVERFITTED, EVEN])
def test_non_negative_risk_and_its_gradient_switch_where_negatives_cost_too_little(
    kind, beta, gamma, positive, unlabeled
):
    prior = 0.6
    of_positives, of_negatives = numpy_risks(positive, unlabeled, prior, kind)
    assert (of_negatives < 0) == (positive is OVERFITTED[0])
    if of_negatives < -beta:
        expected = of_positives - beta
        slope = slopes(lambda p, u: -gamma * numpy_risks(p, u, prior, kind)[1], positive, unlabeled)
    else:
        expected = of_positives + of_negatives
        slope = slopes(lambda p, u: sum(numpy_risks(p, u, prior, kind)), positive, unlabeled)
    with jax.enable_x64(True):
        risk = lambda p, u: positive_unlabeled.nnpu_risk(p, u, prior, kind, beta, gamma)  # noqa: E731
        value, gradient = jax.jit(jax.value_and_grad(risk, (0, 1)))(jnp.asarray(positive), jnp.asarray(unlabeled))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for found, one in zip(gradient, slope, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-6, atol=1e-10)


# puNCE


def numpy_punce(one, other, labeled, prior, temperature, form):
    """The paper's sums, term by term."""
    views = [v / np.linalg.norm(v) for v in (*one, *other)]
    of_positive = [*labeled, *labeled]
    count, total = len(one), 0.0
    for i, view in enumerate(views):
        others = [j for j in range(2 * count) if j != i]
        pull = {j: view @ views[j] / temperature for j in others}
        normaliser = np.log(sum(np.exp(v) for v in pull.values()))
        own = (i + count) % (2 * count)
        positives = [j for j in others if of_positive[j]]
        mean = lambda of: sum(pull[j] - normaliser for j in of) / max(len(of), 1)  # noqa: B023, E731
        if of_positive[i]:
            log_p = mean(positives)
        elif form == "paper":
            log_p = prior * mean([*positives, own]) + (1 - prior) * mean([own])
        else:
            log_p = (mean([own]) + prior * mean(positives)) / (1 + prior)
        total -= log_p / (2 * count)
    return total


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("labeled", [[1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0], [0] * 6, [1] * 6])
def test_punce_is_the_papers_sum(form, labeled):
    one, other = np.random.default_rng(0).normal(size=(2, 6, 4))
    loss = jax.jit(partial(positive_unlabeled.punce, temperature=0.3, form=form))
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(one), jnp.asarray(other), jnp.asarray(labeled), 0.4)
    np.testing.assert_allclose(value, numpy_punce(one, other, labeled, 0.4, 0.3, form), rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3


def test_punce_without_labelled_positives_has_no_use_for_the_prior():
    one, other = np.random.default_rng(1).normal(size=(2, 5, 4))
    found = [positive_unlabeled.punce(one, other, np.zeros(5), prior) for prior in (0.0, 0.4)]
    assert found[0] == pytest.approx(float(found[1]), rel=1e-6)


# Elkan and Noto


def test_elkan_noto_knows_the_truth_where_the_truth_is_known():
    """Three kinds of image, positive with chances of their own; a quarter of the positives is labelled."""
    truth, c = np.array([0.0, 0.3, 1.0]), 0.25
    g = c * truth
    np.testing.assert_allclose(positive_unlabeled.elkan_noto(g, c), truth, atol=1e-6)
    unlabeled = truth * (1 - c) / (truth * (1 - c) + 1 - truth)  # Bayes
    np.testing.assert_allclose(positive_unlabeled.elkan_noto_weights(g, c), unlabeled, atol=1e-6)
    np.testing.assert_array_equal(
        positive_unlabeled.elkan_noto(np.array([0.0, 0.2, 0.9]), 0.5), np.float32([0, 0.4, 1])
    )
    np.testing.assert_array_equal(positive_unlabeled.elkan_noto_weights(np.array([0.0, 0.9, 1.0]), 0.5), [0, 1, 1])


def test_label_frequency_and_class_shares_of_a_mixture_that_does_not_overlap():
    rng = np.random.default_rng(0)
    y = rng.random(40_000) < 0.35
    x = rng.normal(size=40_000) + np.where(y, 5, -5)
    s = y & (rng.random(40_000) < 0.2)
    g = 0.2 / (1 + np.exp(-10 * x))  # P(s = 1 | x), known
    c = float(positive_unlabeled.label_frequency(g[s]))
    assert c == pytest.approx(0.2, abs=1e-4)
    assert np.asarray(positive_unlabeled.elkan_noto(g, c)).mean() == pytest.approx(0.35, abs=0.01)
    weights = np.asarray(positive_unlabeled.elkan_noto_weights(g[~s], c))
    assert weights.mean() == pytest.approx(y[~s].mean(), abs=0.01)
