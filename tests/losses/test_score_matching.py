import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from scoressl_jax.losses.score_matching import (
    denoising_likelihood_score_matching,
    denoising_score_matching,
    likelihood_score,
    sample_times,
)
from scoressl_jax.sde import TRAINING_EPS, VE, VP, SubVP

PROCESSES = [VE(0.05, 8.0), VP(), SubVP()]


def numpy_marginal(sde, t):
    if isinstance(sde, VE):
        return np.ones_like(t), sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
    c = -0.25 * t**2 * (sde.beta_max - sde.beta_min) - 0.5 * t * sde.beta_min
    variance = 1 - np.exp(2 * c)
    return np.exp(c), variance if isinstance(sde, SubVP) else np.sqrt(variance)


# Times


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_stratified_times_fall_one_in_each_stratum(batch):
    draw = jax.jit(sample_times, static_argnums=1)
    for seed in range(5):
        t = np.asarray(draw(jax.random.key(seed), batch), np.float64)
        u = (t - TRAINING_EPS) / (1 - TRAINING_EPS)
        assert ((u >= 0) & (u < 1)).all()
        ordered = np.sort(u)
        gaps = np.diff(np.append(ordered, ordered[0] + 1))  # round the circle: one offset shifts all strata
        np.testing.assert_allclose(gaps, 1 / batch, atol=1e-5)
        within = np.mod(u * batch, 1)  # the same place in every stratum
        np.testing.assert_allclose(np.exp(2j * np.pi * within), np.exp(2j * np.pi * within[0]), atol=1e-3)


@pytest.mark.parametrize("kind", ["stratified", "uniform"])
def test_each_time_is_uniform(kind):
    keys = jax.random.split(jax.random.key(3), 2000)
    t = np.asarray(jax.jit(jax.vmap(lambda key: sample_times(key, 3, kind)))(keys))
    for column in t.T:
        assert kstest(column, "uniform", args=(TRAINING_EPS, 1 - TRAINING_EPS)).pvalue > 0.005
    assert t.min() >= TRAINING_EPS
    # Uniform times are drawn one by one, stratified ones together.
    correlation = np.corrcoef(np.cos(2 * np.pi * t[:, 0]), np.cos(2 * np.pi * (t[:, 1] - 1 / 3)))[0, 1]
    assert correlation > 0.99 if kind == "stratified" else abs(correlation) < 0.1


@pytest.mark.parametrize("kind", ["stratified", "uniform"])
def test_focused_times_have_their_share_and_are_uniform_on_each_part(kind):
    share, low, high = 0.6, 0.3, 0.5
    t = np.asarray(jax.jit(sample_times, static_argnums=(1, 2, 3))(jax.random.key(1), 20_000, kind, (share, low, high)))
    inside = (t > low) & (t < high)
    assert inside.mean() == pytest.approx(share + (1 - share) * (high - low), abs=0.01)
    for part, start, width in ((t[inside], low, high - low), (t[t < low], 0, low), (t[t > high], high, 1 - high)):
        assert kstest(part, "uniform", args=(start, width)).pvalue > 0.005
    assert (t < low).mean() == pytest.approx((1 - share) * low, abs=0.01)


# Denoising score matching


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_dsm_is_the_formula(sde):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 4, 2, 3, 1))
    t = np.asarray([0.1, 0.3, 0.6, 0.9])
    alpha, std = (v.reshape(4, 1, 1, 1) for v in numpy_marginal(sde, t))
    score = np.sin(alpha * x + std * z) - t.reshape(4, 1, 1, 1)

    def score_fn(x_t, t):
        return jnp.sin(x_t) - t.reshape(4, 1, 1, 1)

    squares = ((score + z / std) ** 2).sum((1, 2, 3))
    plain = 0.5 * std.ravel() ** 2 * squares
    if isinstance(sde, VE):
        g2 = 2 * std.ravel() ** 2 * np.log(8.0 / 0.05)
    else:
        g2 = (0.1 + 19.9 * t) * (1 - alpha.ravel() ** 4 if isinstance(sde, SubVP) else 1)
    weighted = 0.5 * g2 * squares
    found = jax.jit(lambda *a: [
        denoising_score_matching(score_fn, sde, *a, likelihood_weighting=weighting) for weighting in (False, True)
    ])
    np.testing.assert_allclose(found(x, t, z), [plain.mean(), weighted.mean()], rtol=1e-4)


def test_dsm_is_least_at_the_exact_score():
    """Data N(m, s^2): the least value is d s^2 / (2 (s^2 + sigma^2)); an error e adds sigma^2 E[e^2] / 2."""
    sde, m, s, n, d = VE(0.05, 8.0), 0.4, 0.7, 40_000, 2
    rng = np.random.default_rng(1)
    x, z = m + s * rng.normal(size=(n, d)), rng.normal(size=(n, d))
    t = np.full(n, 0.55)
    sigma = numpy_marginal(sde, 0.55)[1]
    v = s**2 + sigma**2

    @jax.jit
    def loss(slope=0.0, shift=0.0):
        def score(x_t, t):
            return -(x_t - m) / v + slope * (x_t - m) + shift

        return denoising_score_matching(score, sde, *(jnp.asarray(a, jnp.float32) for a in (x, t, z)))

    least = float(loss())
    assert least == pytest.approx(0.5 * d * s**2 / v, rel=0.03)
    for slope, shift in ((0.3, 0.0), (-0.3, 0.0), (0.0, 0.3), (0.0, -0.3)):
        extra = 0.5 * d * sigma**2 * (slope**2 * v + shift**2)
        assert float(loss(slope, shift)) - least == pytest.approx(extra, rel=0.15)


# Likelihood scores and denoising likelihood score matching, on a small network with its gradients by hand

CLASSES, DIMENSIONS, UNITS = 3, 2, 4


def make_parameters(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return {"v": scale * rng.normal(size=(UNITS, DIMENSIONS)), "b": rng.normal(size=UNITS),
            "w": scale * rng.normal(size=(CLASSES, UNITS))}


def classifier(parameters):
    def classifier_fn(x, t):
        h = jnp.tanh(x @ parameters["v"].T + t[:, None] * parameters["b"])
        return h @ parameters["w"].T, h

    return classifier_fn


def numpy_outputs(parameters, x, t, y):
    """Logits, features, and the gradient of log(p(y) + 1e-8) from the chain rule."""
    h = np.tanh(x @ parameters["v"].T + t[:, None] * parameters["b"])
    logits = h @ parameters["w"].T
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    p_y = p[np.arange(len(y)), y]
    direction = parameters["w"][y] - p @ parameters["w"]
    factor = p_y / (p_y + 1e-8)
    return logits, h, factor[:, None] * ((direction * (1 - h**2)) @ parameters["v"])


def numpy_dlsm(parameters, x_t, t, y, z, score, std, power):
    g = numpy_outputs(parameters, x_t, t, y)[2]
    return (0.5 * std[:, None] ** (2 * power) * (g + score + z / std[:, None]) ** 2).mean(-1)


def make_case(sde, n=6, seed=4):
    rng = np.random.default_rng(seed)
    x, z, score = rng.normal(size=(3, n, DIMENSIONS))
    t, y = rng.uniform(0.1, 0.9, n), rng.integers(0, CLASSES, n)
    alpha, std = numpy_marginal(sde, t)
    return alpha[:, None] * x + std[:, None] * z, t, y, z, score, std


def test_likelihood_score_is_the_gradient():
    parameters, (x_t, t, y, *_) = make_parameters(), make_case(VP())

    def log_p(x):
        logits = numpy_outputs(parameters, x, t, y)[0]
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        return np.log(p[np.arange(len(y)), y] + 1e-8)

    with jax.enable_x64(True):
        find = jax.jit(lambda *args: likelihood_score(classifier(parameters), *args))
        logits, features, g = map(np.asarray, find(x_t, t, y))
    expected = numpy_outputs(parameters, x_t, t, y)
    np.testing.assert_allclose(logits, expected[0], rtol=1e-10)
    np.testing.assert_allclose(features, expected[1], rtol=1e-10)
    np.testing.assert_allclose(g, expected[2], rtol=1e-8, atol=1e-12)
    for i in range(DIMENSIONS):
        step = 1e-5 * np.eye(DIMENSIONS)[i]
        np.testing.assert_allclose(g[:, i], (log_p(x_t + step) - log_p(x_t - step)) / 2e-5, rtol=1e-6, atol=1e-8)


def test_very_confident_errors_have_bounded_gradients():
    """Where p(y) is far below 1e-8, log(p + 1e-8) is flat."""

    def confident(x, t):
        return jnp.stack([30 * x[:, 0], -30 * x[:, 0]], axis=-1), x

    find = jax.jit(lambda *args: likelihood_score(confident, *args)[2])
    g = np.asarray(find(np.float32([[1.0], [0.3]]), np.ones(2), np.asarray([1, 1])))
    p = 1 / (1 + np.exp(60 * np.asarray([1.0, 0.3])))
    np.testing.assert_allclose(g[:, 0], -60 * p * (1 - p) / (p + 1e-8), rtol=1e-4)
    assert abs(g[0, 0]) < 1e-10 < 1 < abs(g[1, 0])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_dlsm_is_the_formula(power):
    sde = VE(0.05, 8.0)
    x_t, t, y, z, score, std = make_case(sde)
    g = numpy_outputs(make_parameters(), x_t, t, y)[2]
    found = jax.jit(lambda *a: denoising_likelihood_score_matching(*a[:2], sde, *a[2:], power=power))(g, score, t, z)
    assert found.shape == t.shape
    expected = numpy_dlsm(make_parameters(), x_t, t, y, z, score, std, power)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_dlsm_power_multiplies_by_the_noise_level():
    """Each unit of power multiplies an image's loss by std^2 of that image."""
    sde = SubVP()
    _, t, _, z, score, std = make_case(sde)

    @jax.jit
    def find(score, t, z):
        return [denoising_likelihood_score_matching(0 * z, score, sde, t, z, power=power) for power in (0.0, 0.5, 1.5)]

    losses = [np.asarray(values) for values in find(score, t, z)]
    np.testing.assert_allclose(losses[1], losses[0] * std, rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0] * std**3, rtol=1e-4)


def test_dlsm_averages_over_every_dimension_of_an_image():
    z = np.random.default_rng(2).normal(size=(3, 2, 4, 5))
    found = jax.jit(lambda z: denoising_likelihood_score_matching(0 * z, 0 * z, VE(), jnp.full(3, 0.5), z))(z)
    np.testing.assert_allclose(found, 0.5 * (z**2).mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_dlsm_gradient_of_the_classifier(power):
    """The gradient through a gradient, against differences of a loss written in NumPy."""
    sde = VP()
    parameters, case = make_parameters(), make_case(sde)
    x_t, t, y, z, score, std = case

    def loss(parameters):
        g = likelihood_score(classifier(parameters), *map(jnp.asarray, (x_t, t, y)))[2]
        return denoising_likelihood_score_matching(g, score, sde, jnp.asarray(t), jnp.asarray(z), power=power).mean()

    with jax.enable_x64(True):
        grads = jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, parameters))
    for name, value in parameters.items():
        numeric = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {k: v.copy() for k, v in parameters.items()}
                moved[name][index] += step
                ends.append(numpy_dlsm(moved, x_t, t, y, z, score, std, power).mean())
            numeric[index] = (ends[0] - ends[1]) / 2e-5
        assert np.abs(numeric).max() > 1e-3
        np.testing.assert_allclose(grads[name], numeric, rtol=1e-5, atol=1e-7)


def test_dlsm_is_least_at_the_exact_posterior():
    """Two Gaussians of std s: with the exact score, the exact posterior makes score + g the conditional score, whose
    least DSM is s^2 / (2 (s^2 + sigma^2)) a dimension."""
    sde, s, n, d = VE(0.05, 8.0), 0.5, 20_000, 2
    means, weights = np.asarray([[1.0, 0.0], [-0.5, 0.8]]), np.asarray([0.3, 0.7])
    rng = np.random.default_rng(5)
    y = (rng.uniform(size=n) > weights[0]).astype(int)
    t = np.full(n, 0.5)
    sigma = numpy_marginal(sde, 0.5)[1]
    v = s**2 + sigma**2
    z = rng.normal(size=(n, d))
    x_t = means[y] + s * rng.normal(size=(n, d)) + sigma * z
    log_joint = np.log(weights) - ((x_t[:, None] - means) ** 2).sum(-1) / (2 * v)
    posterior = np.exp(log_joint) / np.exp(log_joint).sum(-1, keepdims=True)
    score = (posterior @ means - x_t) / v
    x_t, t, y, z, score = (jnp.asarray(a, jnp.int32 if a.dtype == int else jnp.float32) for a in (x_t, t, y, z, score))

    @jax.jit
    def loss(sharpness, shift):
        def classifier_fn(x, t):
            logits = jnp.log(weights) - ((x[:, None] - means) ** 2).sum(-1) / (2 * v)
            return sharpness * logits + shift * jnp.asarray([0.0, 1.0]), x

        g = likelihood_score(classifier_fn, x_t, t, y)[2]
        return denoising_likelihood_score_matching(g, score, sde, t, z).mean()

    least = float(loss(1.0, 0.0))
    assert least == pytest.approx(0.5 * s**2 / v, rel=0.03)
    for sharpness, shift in ((0.5, 0.0), (1.6, 0.0), (1.0, 1.0), (1.0, -1.0), (0.0, 0.0)):
        assert float(loss(sharpness, shift)) > least * 1.005, (sharpness, shift)


def quadrature(points, labels, sigma, order=48):
    """Nodes that integrate over points, their labels and their noise: x_0, y, z, weights, by Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    z = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    w = np.outer(weights, weights).ravel() / (2 * np.pi)
    x_0, y = np.repeat(points, len(z), 0), np.repeat(labels, len(z))
    return x_0, y, np.tile(z, (len(points), 1)), np.tile(w, len(points)) / len(points)


def mixture_score(x, points, sigma):
    log_w = -((x[:, None] - points) ** 2).sum(-1) / (2 * sigma**2)
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    return (w @ points / w.sum(1, keepdims=True) - x) / sigma**2


def test_theorem_1_dlsm_is_explicit_likelihood_score_matching_up_to_a_constant():
    """Chao et al. 2022, theorem 1 (with clean labels), where every expectation is an exact sum."""
    rng, sigma = np.random.default_rng(8), 1.5
    points, labels = rng.normal(size=(7, 2)), np.asarray([0, 0, 0, 1, 1, 2, 2])
    sde = VE(0.1, 10.0)
    with jax.enable_x64(True):
        time = float(sde.inverse_std(jnp.asarray([sigma], float))[0])
        x_0, y, z, weights = quadrature(points, labels, sigma)
        x_t, t = x_0 + sigma * z, np.full(len(z), time)
        score = mixture_score(x_t, points, sigma)
        posterior = np.stack([mixture_score(x_t, points[labels == c], sigma) for c in range(CLASSES)])
        true = posterior[y, np.arange(len(y))] - score

        def explicit(parameters, _):
            g = likelihood_score(classifier(parameters), x_t, t, y)[2]
            return (weights * 0.5 * ((g - true) ** 2).sum(-1)).sum()

        def denoising(parameters, score):
            g = likelihood_score(classifier(parameters), x_t, t, y)[2]
            return 2 * (weights * denoising_likelihood_score_matching(g, score, sde, t, z, power=0.0)).sum()

        both = jax.jit(lambda *a: (jax.value_and_grad(explicit)(*a), jax.value_and_grad(denoising)(*a)))
        differences = []
        for seed in range(3):
            (loss_e, grads_e), (loss_d, grads_d) = both(make_parameters(seed, 0.5), score)
            differences.append(loss_d - loss_e)
            assert loss_e > 0.01
            largest = max(np.abs(values).max() for values in grads_e.values())
            for name, values in grads_e.items():
                assert np.abs(values).max() > 1e-3 * largest
                np.testing.assert_allclose(grads_d[name], values, atol=2e-4 * largest)  # of the quadrature
        np.testing.assert_allclose(differences, differences[0], rtol=1e-4)
        assert differences[0] > 0.01
        # With another prior score than the exact one, they part.
        (_, grads_e), (_, grads_d) = both(make_parameters(0, 0.5), score + 0.1)
        assert np.abs(grads_d["w"] - grads_e["w"]).max() > 1e-2 * np.abs(grads_e["w"]).max()


def test_dsm_power_multiplies_by_the_noise_level():
    """The weighting of the two-moons experiment: mean over points and dimensions of (s sigma^2 + z sigma)^2."""
    rng, sde = np.random.default_rng(3), VE(0.001, 10.0)
    x, z = rng.normal(size=(2, 5, 2))
    t = np.asarray([0.1, 0.4, 0.6, 0.8, 0.95])
    sigma = numpy_marginal(sde, t)[1][:, None]
    score = np.cos(x + sigma * z)
    found = jax.jit(lambda *a: denoising_score_matching(lambda x, _: jnp.cos(x), sde, *a, power=2.0))(x, t, z)
    np.testing.assert_allclose(found, ((score * sigma**2 + z * sigma) ** 2).mean(), rtol=1e-4)
