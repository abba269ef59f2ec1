"""The objective with a classifier and a score whose outputs and gradients are written down again in NumPy.

All variants run in one compiled call; `Run` holds a variant's loss, logs, gradients and the images and times that the
classifier was shown, outside of input gradients: first the labelled images, then the unlabelled ones at t.
"""

from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import QUICK

from scoressl_jax.methods.score_ssl import TAUGHT_TERMS, UNLABELED_TERMS, Objective
from scoressl_jax.sde import VE

SDE = VE(0.05, 3.0)
TAU, POWER, DELTA = 0.02, 0.5, 0.3
CLASSES, D = 3, 4
TERMS = ("ce", "ce_tau", "dlsm", "pseudo", "pseudo_dlsm", "denoising", "temporal", "prior")
LABELED = ("ce", "ce_tau", "dlsm")
PRIOR = (0.2, 0.3, 0.5)
WEIGHTS = dict(zip(TERMS, (1.0, 0.5, 2.0, 0.7, 0.3, 1.5, 3.0, 0.25), strict=True))

rng = np.random.default_rng(0)
PARAMETERS = {"a": 2 * rng.normal(size=(CLASSES, D)), "b": rng.normal(size=(5, D))}
BATCH = {
    "x": rng.uniform(size=(6, D)), "y": rng.integers(0, CLASSES, 6),
    "x_u": 3 * rng.uniform(size=(40, D)), "y_u": rng.integers(-1, CLASSES, 40),
}
OTHER_Y_U = np.roll(BATCH["y_u"], 1)
TAUGHT = rng.dirichlet(np.ones(CLASSES), 40)  # a teacher's probabilities
SCORE_SLOPE = 0.8

Run = namedtuple("Run", "loss logs seen grads score_grad")


def classifier(parameters):
    def classifier_fn(x, t):
        return (1 + t)[:, None] * (x @ parameters["a"].T), jnp.sin(x @ parameters["b"].T + t[:, None])

    return classifier_fn


def numpy_logits(x, t):
    return (1 + t)[:, None] * (x @ PARAMETERS["a"].T)


def numpy_features(x, t):
    return np.sin(x @ PARAMETERS["b"].T + t[:, None])


def softmax(logits):
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def sigma(t):
    return 0.05 * 60.0**t


VARIANTS = {
    **{f"only {term}": {"weights": {term: 1.0}} for term in TERMS},
    "all": {"weights": WEIGHTS},
    "all, other y_u": {"weights": WEIGHTS, "y_u": OTHER_Y_U},
    "all, no y_u": {"weights": WEIGHTS, "y_u": np.full(40, -1)},
    "zeros": {"weights": {**dict.fromkeys(TERMS, 0.0), "ce": 1.0}},
    "uniform": {"weights": {"ce": 1.0}, "times": "uniform"},
    "temporal same": {"weights": {"temporal": 1.0}, "temporal_time": "same"},
    "temporal fresh": {"weights": {"temporal": 1.0}, "temporal_noise": "fresh"},
    "pseudo all": {"weights": {"pseudo": 1.0}, "threshold": 0.0},
    "pseudo none": {"weights": {"pseudo": 1.0, "pseudo_dlsm": 1.0}, "threshold": 1.1},
    **{f"teacher, {term}": {"weights": {term: 1.0}, "taught": TAUGHT} for term in (*TERMS, *TAUGHT_TERMS)},
    "teacher, all": {"weights": {**WEIGHTS, "taught": 1.3, "taught_tau": 0.6}, "taught": TAUGHT},
    "teacher, dlsm too": {"weights": {"taught": 1.0, "pseudo_dlsm": 2.0}, "taught": TAUGHT},
}
WITH_GRADIENTS = ("all", "all, other y_u", "all, no y_u", "only pseudo", "only prior")
WITH_GRADIENTS += ("teacher, taught", "teacher, taught_tau")


def variant_run(name, options, batch, key):
    options = {"threshold": 0.9, **options}
    if "y_u" in options:
        batch = batch | {"y_u": jnp.asarray(options.pop("y_u"))}
    if "taught" in options:
        batch = batch | {"taught": jnp.asarray(options.pop("taught"))}
    if set(options["weights"]) <= set(LABELED) or options["weights"].get("temporal") == 0.0:
        batch = {"x": batch["x"], "y": batch["y"]}  # these need no unlabelled images
    objective = Objective(sde=SDE, tau=TAU, dlsm_power=POWER, temporal_delta=DELTA, prior=PRIOR, **options)
    calls = []

    def loss_fn(parameters, slope, calls):
        def classifier_fn(x, t):
            calls.append((x, t))
            return classifier(parameters)(x, t)

        return objective(classifier_fn, lambda x, t: jnp.sin(slope * x), batch, key)

    loss, logs = loss_fn(PARAMETERS, SCORE_SLOPE, calls)
    grads = None, None
    if name in WITH_GRADIENTS:
        grads = jax.grad(lambda *args: loss_fn(*args, [])[0], argnums=(0, 1))(PARAMETERS, SCORE_SLOPE)
    if options["weights"].get("dlsm") or options["weights"].get("pseudo_dlsm"):
        calls = []  # inside a gradient: not to be read from outside
    seen = tuple(jnp.concatenate(parts) for parts in zip(*calls, strict=True))
    return Run(loss, logs, seen, *grads)


@pytest.fixture(scope="module")
def runs():
    def run_all(batch, key):
        return {name: variant_run(name, options, batch, key) for name, options in VARIANTS.items()}

    with jax.enable_x64(True):
        key = jax.random.key(7, impl="unsafe_rbg")  # compiles fastest
        arguments = jax.tree.map(jnp.asarray, BATCH), key
        quick = jax.jit(run_all).lower(*arguments).compile(compiler_options=QUICK)
        return jax.tree.map(np.asarray, quick(*arguments))


def rows(run, start, count):
    """Images and times of some of the rows that the classifier was shown."""
    return tuple(v[start : start + count] for v in run.seen)


@pytest.fixture(scope="module")
def labeled_view(runs):
    return rows(runs["only ce"], 0, 6)


@pytest.fixture(scope="module")
def unlabeled_views(runs):
    """((x_tau, tau), (x_t, t)) of the unlabelled images."""
    return rows(runs["only pseudo"], 46, 40), rows(runs["only pseudo"], 6, 40)


def terms_of(run):
    return set(run.logs) & set(TERMS)


def pseudo(unlabeled_views, threshold=0.9):
    p = softmax(numpy_logits(*unlabeled_views[0]))
    return p.argmax(-1), (p.max(-1) >= threshold).astype(float)


def numpy_dlsm(view, x, y):
    x_t, t = view
    p = softmax(numpy_logits(x_t, t))
    std = sigma(t)[:, None]
    p_y = np.take_along_axis(p, y[:, None], -1)
    g = p_y / (p_y + 1e-8) * (1 + t)[:, None] * (PARAMETERS["a"][y] - p @ PARAMETERS["a"])
    error = g + np.sin(SCORE_SLOPE * x_t) + (x_t - x) / std**2  # z / std = (x_t - x) / std^2
    return (0.5 * std ** (2 * POWER) * error**2).mean(-1)


# Which terms there are, and what they add up to


@pytest.mark.parametrize("term", TERMS)
def test_one_weighted_term_alone_is_logged_and_is_the_loss(runs, term):
    """And cross-entropy, which is logged always."""
    run = runs[f"only {term}"]
    assert terms_of(run) == {term, "ce"}
    assert run.loss == run.logs[term]
    assert abs(run.loss) > 1e-3


def test_loss_is_the_weighted_sum(runs):
    run = runs["all"]
    assert terms_of(run) == set(TERMS)
    np.testing.assert_allclose(run.loss, sum(WEIGHTS[name] * run.logs[name] for name in TERMS), rtol=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_does_not_depend_on_its_company(runs, term):
    np.testing.assert_allclose(runs["all"].logs[term], runs[f"only {term}"].loss, rtol=1e-9)


def test_weight_zero_is_no_term_and_needs_no_unlabelled_images(runs):
    assert terms_of(runs["zeros"]) == {"ce"}
    assert runs["zeros"].loss == runs["only ce"].loss
    assert len(runs["zeros"].seen[0]) == 6


def test_tiny_objective_is_hashable():
    assert isinstance(hash(Objective(sde=SDE, weights=WEIGHTS)), int)


# Labelled terms


def test_labelled_images_are_diffused_to_stratified_times(labeled_view):
    x_t, t = labeled_view
    ordered = np.sort(t)
    np.testing.assert_allclose(np.diff(ordered), 1 / 6, atol=1e-4)
    assert np.abs((x_t - BATCH["x"]) / sigma(t)[:, None]).max() < 4
    assert np.std((x_t - BATCH["x"]) / sigma(t)[:, None]) == pytest.approx(1, abs=0.5)


def test_times_can_be_uniform(runs):
    gaps = np.diff(np.sort(runs["uniform"].seen[1]))
    assert np.abs(gaps - 1 / 6).max() > 0.03


def test_cross_entropy_at_t(runs, labeled_view):
    p = softmax(numpy_logits(*labeled_view))
    np.testing.assert_allclose(runs["only ce"].loss, -np.log(p[np.arange(6), BATCH["y"]]).mean(), rtol=1e-9)
    np.testing.assert_allclose(runs["only ce"].logs["accuracy"], (p.argmax(-1) == BATCH["y"]).mean())


def test_cross_entropy_at_tau(runs, labeled_view):
    x_tau, tau = rows(runs["only ce_tau"], 6, 6)
    np.testing.assert_allclose(tau, TAU)
    z_tau = (x_tau - BATCH["x"]) / sigma(TAU)
    assert 0.5 < z_tau.std() < 1.6
    z_t = (labeled_view[0] - BATCH["x"]) / sigma(labeled_view[1])[:, None]
    assert abs(np.corrcoef(z_t.ravel(), z_tau.ravel())[0, 1]) < 0.6  # noise of its own
    p = softmax(numpy_logits(x_tau, tau))
    np.testing.assert_allclose(runs["only ce_tau"].loss, -np.log(p[np.arange(6), BATCH["y"]]).mean(), rtol=1e-9)
    np.testing.assert_allclose(runs["only ce_tau"].logs["accuracy_tau"], (p.argmax(-1) == BATCH["y"]).mean())


def test_dlsm_of_labelled_images(runs, labeled_view):
    expected = numpy_dlsm(labeled_view, BATCH["x"], BATCH["y"]).mean()
    np.testing.assert_allclose(runs["only dlsm"].loss, expected, rtol=1e-8)


# Unlabelled terms


def test_unlabelled_images_are_seen_at_tau_and_at_t(unlabeled_views):
    (x_tau, tau), (x_t, t) = unlabeled_views
    np.testing.assert_allclose(tau, TAU)
    assert ((x_tau - BATCH["x_u"]) / sigma(TAU)).std() == pytest.approx(1, abs=0.2)
    assert ((x_t - BATCH["x_u"]) / sigma(t)[:, None]).std() == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(np.diff(np.sort(t)), 1 / 40, atol=1e-4)


def test_pseudo_labels_come_from_tau_and_are_learnt_at_t(runs, unlabeled_views):
    y, mask = pseudo(unlabeled_views)
    assert 5 < mask.sum() < 35
    log_p = np.log(softmax(numpy_logits(*unlabeled_views[1])))[np.arange(40), y]
    run = runs["only pseudo"]
    np.testing.assert_allclose(run.loss, -(mask * log_p).mean(), rtol=1e-9)
    np.testing.assert_allclose(run.logs["pseudo_rate"], mask.mean())
    np.testing.assert_allclose(runs["pseudo all"].loss, -log_p.mean(), rtol=1e-9)
    assert runs["pseudo none"].loss == 0
    assert runs["pseudo none"].logs["pseudo_right"] == 0


def test_pseudo_labels_are_targets_without_gradient(runs, unlabeled_views):
    """The gradient is that of cross-entropy at t alone: (p - onehot) x (1 + t), where the mask is 1."""
    y, mask = pseudo(unlabeled_views)
    x_t, t = unlabeled_views[1]
    error = softmax(numpy_logits(x_t, t)) - np.eye(CLASSES)[y]
    expected = ((mask * (1 + t))[:, None] * error).T @ x_t / 40
    np.testing.assert_allclose(runs["only pseudo"].grads["a"], expected, rtol=1e-8, atol=1e-12)
    assert not runs["only pseudo"].grads["b"].any()


def test_pseudo_dlsm_has_the_same_labels_and_mask(runs, unlabeled_views):
    y, mask = pseudo(unlabeled_views)
    expected = (mask * numpy_dlsm(unlabeled_views[1], BATCH["x_u"], y)).mean()
    np.testing.assert_allclose(runs["only pseudo_dlsm"].loss, expected, rtol=1e-8)


def test_denoising_consistency_compares_features_at_the_same_time(runs, unlabeled_views):
    x_t, t = unlabeled_views[1]
    x_hat = x_t + sigma(t)[:, None] ** 2 * np.sin(SCORE_SLOPE * x_t)
    seen, told = rows(runs["only denoising"], 46, 40)
    np.testing.assert_allclose(seen, x_hat, rtol=1e-8)
    np.testing.assert_allclose(told, t)
    expected = ((numpy_features(x_t, t) - numpy_features(x_hat, t)) ** 2).mean()
    np.testing.assert_allclose(runs["only denoising"].loss, expected, rtol=1e-7)


def test_temporal_consistency_grows_the_noise_by_delta(runs, unlabeled_views):
    x_t, t = unlabeled_views[1]
    x_later, later = rows(runs["only temporal"], 46, 40)
    np.testing.assert_allclose(sigma(later), np.minimum(sigma(t) + DELTA, 3.0), rtol=1e-6)
    assert (sigma(t) + DELTA > 3.0).any()  # the clamp occurs
    z = (x_t - BATCH["x_u"]) / sigma(t)[:, None]
    np.testing.assert_allclose(x_later, BATCH["x_u"] + sigma(later)[:, None] * z, rtol=1e-6)  # the noise is shared
    expected = ((numpy_features(x_t, t) - numpy_features(x_later, later)) ** 2).mean()
    np.testing.assert_allclose(runs["only temporal"].loss, expected, rtol=1e-7)


def test_temporal_consistency_may_tell_the_first_time(runs, unlabeled_views):
    x_t, t = unlabeled_views[1]
    x_later, told = rows(runs["temporal same"], 46, 40)
    np.testing.assert_array_equal(told, t)
    np.testing.assert_array_equal(x_later, rows(runs["only temporal"], 46, 40)[0])
    expected = ((numpy_features(x_t, t) - numpy_features(x_later, t)) ** 2).mean()
    np.testing.assert_allclose(runs["temporal same"].loss, expected, rtol=1e-7)


def test_temporal_consistency_may_draw_fresh_noise(runs, unlabeled_views):
    x_t, t = unlabeled_views[1]
    x_later, later = rows(runs["temporal fresh"], 46, 40)
    np.testing.assert_array_equal(later, rows(runs["only temporal"], 46, 40)[1])
    first = (x_t - BATCH["x_u"]) / sigma(t)[:, None]
    second = (x_later - BATCH["x_u"]) / sigma(later)[:, None]
    assert second.std() == pytest.approx(1, abs=0.2)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.3


def test_prior_term_reads_predictions_at_tau(runs, unlabeled_views):
    average = softmax(numpy_logits(*unlabeled_views[0])).mean(0)
    np.testing.assert_allclose(runs["only prior"].loss, -(np.asarray(PRIOR) * np.log(average + 1e-8)).sum(), rtol=1e-9)
    assert np.abs(runs["only prior"].grads["a"]).max() > 1e-3  # and its gradient does flow


# Where there is a teacher


def taught_loss(view, p=TAUGHT):
    return -(p * np.log(softmax(numpy_logits(*view)))).sum(1).mean()


def taught_gradient(view):
    """By the parameters a: (q - p) x (1 + t), p being constants."""
    x, t = view
    return ((1 + t)[:, None] * (softmax(numpy_logits(x, t)) - TAUGHT)).T @ x / 40


def test_a_teacher_s_probabilities_are_learnt_at_t(runs, unlabeled_views):
    run = runs["teacher, taught"]
    np.testing.assert_allclose(run.loss, taught_loss(unlabeled_views[1]), rtol=1e-9)
    np.testing.assert_allclose(run.grads["a"], taught_gradient(unlabeled_views[1]), rtol=1e-8, atol=1e-12)
    assert terms_of(run) == {"ce"}
    assert run.logs["taught"] == run.loss
    assert len(run.seen[0]) == 6 + 40, "nothing is asked at tau"


def test_a_teacher_s_probabilities_are_learnt_at_tau(runs, unlabeled_views):
    run = runs["teacher, taught_tau"]
    x_tau, tau = rows(run, 46, 40)
    np.testing.assert_array_equal(x_tau, unlabeled_views[0][0])
    np.testing.assert_allclose(run.loss, taught_loss((x_tau, tau)), rtol=1e-9)
    np.testing.assert_allclose(run.grads["a"], taught_gradient((x_tau, tau)), rtol=1e-8, atol=1e-12)
    assert run.logs["taught_tau"] == run.loss
    assert abs(run.loss - taught_loss(unlabeled_views[1])) > 1e-3


def test_pseudo_labels_are_the_teacher_s_all_of_them(runs, unlabeled_views):
    x_t, t = unlabeled_views[1]
    y = TAUGHT.argmax(1)
    run = runs["teacher, pseudo"]
    np.testing.assert_allclose(run.loss, taught_loss((x_t, t), np.eye(CLASSES)[y]), rtol=1e-9)
    assert run.logs["pseudo_rate"] == 1
    np.testing.assert_allclose(run.logs["pseudo_right"], (y == BATCH["y_u"]).mean())
    assert len(run.seen[0]) == 6 + 40, "nothing is asked at tau"
    dlsm = numpy_dlsm((x_t, t), BATCH["x_u"], y).mean()
    np.testing.assert_allclose(runs["teacher, pseudo_dlsm"].loss, dlsm, rtol=1e-8)
    both = runs["teacher, dlsm too"]
    np.testing.assert_allclose(both.loss, taught_loss((x_t, t)) + 2 * dlsm, rtol=1e-8)


def test_other_terms_are_as_without_a_teacher(runs):
    for term in set(TERMS) - {"pseudo", "pseudo_dlsm"}:
        assert runs[f"teacher, {term}"].loss == runs[f"only {term}"].loss, term
    whole, weights = runs["teacher, all"], {**WEIGHTS, "taught": 1.3, "taught_tau": 0.6}
    assert set(whole.logs) & {*TERMS, *TAUGHT_TERMS} == {*TERMS, *TAUGHT_TERMS}
    np.testing.assert_allclose(whole.loss, sum(w * whole.logs[name] for name, w in weights.items()), rtol=1e-12)
    for term in weights:
        np.testing.assert_allclose(whole.logs[term], runs[f"teacher, {term}"].loss, rtol=1e-9, err_msg=term)


def test_terms_of_a_teacher_need_unlabelled_images():
    assert set(TAUGHT_TERMS) < set(UNLABELED_TERMS)


# What must not matter


@pytest.mark.parametrize("other", ["all, other y_u", "all, no y_u"])
def test_hidden_labels_reach_nothing_but_logs(runs, other):
    assert runs[other].loss == runs["all"].loss
    for name, grad in runs["all"].grads.items():
        np.testing.assert_array_equal(runs[other].grads[name], grad)
    changed = {name for name, value in runs[other].logs.items() if value != runs["all"].logs[name]}
    assert changed == {"pseudo_right"}


def test_right_pseudo_labels_are_confident_and_agree_with_known_labels(runs, unlabeled_views):
    y, mask = pseudo(unlabeled_views)
    for name, hidden in (("all", BATCH["y_u"]), ("all, other y_u", OTHER_Y_U)):
        counted = (mask > 0) & (hidden >= 0)
        assert 3 < counted.sum() < mask.sum()
        right = counted & (y == hidden)
        assert 0 < right.sum() < counted.sum()
        np.testing.assert_allclose(runs[name].logs["pseudo_right"], right.mean())
    assert runs["all, no y_u"].logs["pseudo_right"] == 0


def test_the_score_network_gets_no_gradient(runs):
    assert runs["all"].score_grad == 0
    assert np.abs(runs["all"].grads["a"]).max() > 0


def test_views_at_tau_and_no_others_go_through_the_classifier_given_for_them():
    """Those of labelled and of unlabelled images; given the same classifier twice, every figure stays as it is."""
    weights = dict.fromkeys(("ce", "ce_tau", "pseudo", "prior", "temporal"), 1.0)
    objective = Objective(sde=SDE, weights=weights, tau=TAU, threshold=0.5, prior=PRIOR)
    batch, key = jax.tree.map(jnp.float32, BATCH), jax.random.key(0)
    batch |= {name: jnp.asarray(BATCH[name]) for name in ("y", "y_u")}
    seen = {"all": [], "others": [], "at tau": []}

    def recording(name):
        def classifier_fn(x, t):
            seen[name] += np.asarray(t).tolist()
            return classifier(PARAMETERS)(x, t)

        return classifier_fn

    score_fn = lambda x, t: -x  # noqa: E731
    together = objective(recording("all"), score_fn, batch, key)
    apart = objective(recording("others"), score_fn, batch, key, recording("at tau"))
    assert len(seen["at tau"]) == len(batch["x"]) + len(batch["x_u"])
    np.testing.assert_allclose(seen["at tau"], TAU, rtol=1e-6)
    assert not np.isclose(seen["others"], TAU, rtol=1e-6).any()
    assert sorted(seen["all"]) == sorted(seen["others"] + seen["at tau"])
    for found, expected in zip(jax.tree.leaves(apart), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
