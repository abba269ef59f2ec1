import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.guidance import denoise, guided_score, log_likelihood_grad, make_classifier_fn, make_score_fn
from scoressl_jax.sde import VE, VP, SubVP

PROCESSES = [VE(0.02, 9.0), VP(), SubVP()]
M, S = 0.3, 0.6  # Gaussian data
MEANS, WEIGHTS = np.asarray([[1.0, 0.2], [-0.5, 0.7]]), np.asarray([0.25, 0.75])  # a mixture, std S each

rng = np.random.default_rng(0)
X = rng.normal(size=(5, 2))
T = np.asarray([0.05, 0.2, 0.4, 0.7, 0.95])
LABELS = np.asarray([0, 1, 0, 1, 0])


@pytest.fixture(autouse=True, params=PROCESSES, ids=repr)
def sde(request):
    with jax.enable_x64(True):
        yield request.param


def numpy_marginal(sde):
    """alpha, std `[5, 1]` at T."""
    if isinstance(sde, VE):
        return np.ones((5, 1)), (0.02 * 450.0**T)[:, None]
    c = (-0.25 * T**2 * 19.9 - 0.05 * T)[:, None]
    return np.exp(c), 1 - np.exp(2 * c) if isinstance(sde, SubVP) else np.sqrt(1 - np.exp(2 * c))


def exact_score(sde):
    def score_fn(x, t):
        alpha, std = (v[:, None] for v in sde.marginal(t))
        return -(x - alpha * M) / (alpha**2 * S**2 + std**2)

    return score_fn


def test_denoise_gives_the_posterior_mean(sde):
    """For x_0 ~ N(m, s^2) regression gives E[alpha x_0 | x_t]."""
    alpha, std = numpy_marginal(sde)
    gain = alpha**2 * S**2 / (alpha**2 * S**2 + std**2)
    expected = alpha * M + gain * (X - alpha * M)
    np.testing.assert_allclose(jax.jit(lambda x, t: denoise(sde, exact_score(sde), x, t))(X, T), expected, rtol=1e-6)


def test_score_fn_from_a_network_in_variance_exploding_coordinates(sde):
    """The exact network for y = x_0 + sigma z gives the exact score of every process."""

    def network(y, log_sigma):
        return -(y - M) / (S**2 + jnp.exp(2 * log_sigma)[:, None])

    alpha, std = numpy_marginal(sde)
    expected = -(X - alpha * M) / (alpha**2 * S**2 + std**2)
    np.testing.assert_allclose(jax.jit(make_score_fn(sde, network))(X, T), expected, rtol=1e-6)


def test_classifier_fn_shows_variance_exploding_inputs(sde):
    alpha, std = numpy_marginal(sde)
    y, log_sigma = jax.jit(make_classifier_fn(sde, lambda *inputs: inputs))(X, T)
    np.testing.assert_allclose(y, X / alpha, rtol=1e-6)
    np.testing.assert_allclose(log_sigma, np.log(std / alpha)[:, 0], rtol=1e-6)


def test_denoising_assisted_classifier_is_shown_the_denoised_image(sde):
    """Its third input is E[x_0 | x_t], on the scale of x_0."""
    alpha, std = numpy_marginal(sde)
    expected = M + alpha * S**2 / (alpha**2 * S**2 + std**2) * (X - alpha * M)
    y, _, x_hat = jax.jit(make_classifier_fn(sde, lambda *inputs: inputs, exact_score(sde)))(X, T)
    np.testing.assert_allclose(y, X / alpha, rtol=1e-6)
    np.testing.assert_allclose(x_hat, expected, rtol=1e-6)


def test_guidance_with_the_exact_classifier_is_bayes_rule(sde):
    """Score of the mixture + grad log posterior = score of the component, and scale multiplies the second alone."""
    alpha, std = numpy_marginal(sde)
    v = alpha**2 * S**2 + std**2

    def log_joint(x, t):
        a, s = (u[:, None] for u in sde.marginal(t))
        squares = ((x[:, None] - a[..., None] * MEANS) ** 2).sum(-1)
        return jnp.log(WEIGHTS) - squares / (2 * (a**2 * S**2 + s**2))

    def mixture_score(x, t):
        a, s = (u[:, None] for u in sde.marginal(t))
        posterior = jax.nn.softmax(log_joint(x, t))
        return (posterior @ (a[0] * 0 + MEANS) * a - x) / (a**2 * S**2 + s**2)

    @jax.jit
    def find(x, t, labels, scale):
        # Features and a constant shift of the logits must not matter.
        return guided_score(mixture_score, lambda x, t: (log_joint(x, t) + 3.0, x), labels, scale=scale)(x, t)

    conditional = (alpha * MEANS[LABELS] - X) / v
    p = np.asarray(jax.nn.softmax(log_joint(jnp.asarray(X), jnp.asarray(T))))
    unconditional = (alpha * (p @ MEANS) - X) / v
    np.testing.assert_allclose(find(X, T, LABELS, 1.0), conditional, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(find(X, T, LABELS, 0.0), unconditional, rtol=1e-6, atol=1e-9)
    expected = unconditional + 2.5 * (conditional - unconditional)
    np.testing.assert_allclose(find(X, T, LABELS, 2.5), expected, rtol=1e-6, atol=1e-9)


A = rng.normal(size=(3, 2))
B = rng.normal(size=(3, 2))


def numpy_log_p(sde, x, denoise_from=None):
    """log p(LABELS | x) of the network logits = tanh(A y) + B x_hat^2 + log_sigma, x_hat seen from `denoise_from`."""
    alpha, std = numpy_marginal(sde)
    source = x if denoise_from is None else denoise_from
    x_hat = M + alpha * S**2 / (alpha**2 * S**2 + std**2) * (source - alpha * M)
    logits = np.tanh(x / alpha @ A.T) + x_hat**2 @ B.T + np.log(std / alpha)
    logits = logits - logits.max(-1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(5), LABELS]


def differences(sde, **fixed):
    columns = []
    for step in 1e-6 * np.eye(2):
        columns.append((numpy_log_p(sde, X + step, **fixed) - numpy_log_p(sde, X - step, **fixed)) / 2e-6)
    return np.stack(columns, axis=-1)


def test_denoising_assisted_gradient_is_the_total_derivative(sde):
    def network(y, log_sigma, x_hat):
        return jnp.tanh(y @ A.T) + x_hat**2 @ B.T + log_sigma[:, None], x_hat

    classifier_fn = make_classifier_fn(sde, network, exact_score(sde))
    found = jax.jit(lambda x, t: log_likelihood_grad(classifier_fn, x, t, jnp.asarray(LABELS)))(X, T)
    total, partial = differences(sde), differences(sde, denoise_from=X)
    np.testing.assert_allclose(found, total, rtol=1e-5, atol=1e-7)
    assert np.abs(total - partial).max() > 0.05  # the way through the score counts


def test_guidance_acts_within_its_interval_of_times_alone():
    """Image by image, also where times differ within a batch; nothing is computed where no image is inside."""
    gradients = []
    x, t = jnp.asarray([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]]), jnp.asarray([0.1, 0.5, 0.9])
    slope = jnp.asarray([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]])

    def classifier_fn(x, t):
        jax.debug.callback(lambda: gradients.append(1))
        return x @ slope, x

    score = guided_score(lambda x, t: -x, classifier_fn, jnp.asarray([0, 1, 2]), scale=2.0, interval=(0.3, 0.6))
    p = np.asarray(jax.nn.softmax(x @ slope))
    expected = -np.asarray(x)
    expected[1] += 2 * np.asarray(slope) @ (np.eye(3)[1] - p[1])
    np.testing.assert_allclose(jax.jit(score)(x, t), expected, rtol=1e-5)
    jax.effects_barrier()
    assert gradients
    gradients.clear()
    np.testing.assert_allclose(jax.jit(score)(x, jnp.full(3, 0.9)), -x, rtol=1e-6)
    jax.effects_barrier()
    assert not gradients
