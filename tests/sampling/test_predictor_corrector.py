import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.guidance import guided_score
from scoressl_jax.sampling.loop import image_keys, noise_for
from scoressl_jax.sampling.predictor_corrector import correct, per_image_norm, predict, predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP

PROCESSES = [VE(0.02, 9.0), VP(), SubVP()]
M, S = 0.4, 0.3  # Gaussian data, every dimension by itself
SHAPE = (4, 4, 1)


def gaussian_score(sde):
    def score_fn(x, t):
        alpha, std = (v.reshape(-1, 1, 1, 1) for v in sde.marginal(t))
        return -(x - alpha * M) / (alpha**2 * S**2 + std**2)

    return score_fn


def keys(count, seed=0):
    return image_keys(jax.random.key(seed), jnp.arange(count))


def numpy_process(sde, t, dt):
    """alpha, std, beta, g^2 in continuous time, and the square of the noise of one discrete step, at a number t."""
    if isinstance(sde, VE):
        ratio = sde.sigma_max / sde.sigma_min
        std = sde.sigma_min * ratio**t
        before = sde.sigma_min * ratio ** (t - dt) if t - dt > 0 else 0.0
        return 1.0, std, 0.0, 2 * std**2 * np.log(ratio), std**2 - before**2
    beta = 0.1 + 19.9 * t
    alpha = np.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
    if isinstance(sde, SubVP):
        g2 = beta * (1 - alpha**4)
        return alpha, 1 - alpha**2, beta, g2, g2 * dt
    return alpha, np.sqrt(1 - alpha**2), beta, beta, min(beta * dt, 0.999)


def chain_moments(sde, steps, predictor, snr=0.0, corrections=0):
    """Mean and std that the chain has for Gaussian data of many pixels, from its linear recursion in float64.

    In many dimensions the norms in a Langevin step are constants: |z|^2 = D, |score|^2 = D E[(x - alpha m)^2] / v^2.
    """
    grid = np.linspace(1.0, sde.sampling_eps, steps)
    dt = grid[0] - grid[1]
    mean, variance = 0.0, numpy_process(sde, 1.0, 0.0)[1] ** 2
    for t in grid:
        alpha, std, beta, g2, step = numpy_process(sde, t, dt)
        v = alpha**2 * S**2 + std**2
        vp = isinstance(sde, VP) and not isinstance(sde, SubVP)
        for _ in range(corrections):
            scale = 1.0 if isinstance(sde, VE) else 1 - min(beta * dt, 0.999)
            eps = 2 * scale * snr**2 * v**2 / (variance + (mean - alpha * M) ** 2)
            mean = alpha * M + (1 - eps / v) * (mean - alpha * M)
            variance = (1 - eps / v) ** 2 * variance + 2 * eps
        if predictor != "none":
            noise = g2 * dt if predictor == "euler_maruyama" else step
            shrink = 2 - np.sqrt(1 - step) if vp and predictor == "reverse_diffusion" else 1 + 0.5 * beta * dt
            if t > grid[-1]:
                mean = (shrink - noise / v) * mean + noise * alpha * M / v
                variance = (shrink - noise / v) ** 2 * variance + noise
            else:  # the last prediction is the denoised image
                mean, variance = (mean + std**2 * (alpha * M - mean) / v) / alpha, (alpha * S**2 / v) ** 2 * variance
    return mean, np.sqrt(variance)


@pytest.mark.parametrize(
    ("sde", "predictor", "corrections"),
    [
        (PROCESSES[0], "euler_maruyama", 0),
        (PROCESSES[2], "euler_maruyama", 0),
        (PROCESSES[0], "reverse_diffusion", 1),
        (PROCESSES[1], "reverse_diffusion", 1),
        (PROCESSES[2], "reverse_diffusion", 1),
        (VE(0.05, 1.0), "none", 3),
    ],
    ids=repr,
)
def test_samples_of_gaussian_data(sde, predictor, corrections):
    steps, count, snr, shape = 100, 12, 0.16, (32, 32, 1)
    mean, std = chain_moments(sde, steps, predictor, snr, corrections)
    assert mean == pytest.approx(M, abs=0.05)  # the chain itself comes near the data
    assert std == pytest.approx(S, abs=0.06)

    corrector = "langevin" if corrections else "none"
    x = np.asarray(jax.jit(lambda k: predictor_corrector(
        k, gaussian_score(sde), sde, shape,
        steps=steps, predictor=predictor, corrector=corrector, snr=snr, corrector_steps=corrections,
    ))(keys(count)))
    assert x.shape == (count, *shape)
    error = std / np.sqrt(x.size)
    assert abs(x.mean() - mean) < 5 * error
    assert x.std() == pytest.approx(std, rel=0.025)
    # Pixels and images are independent of each other.
    between = (x.reshape(count, -1) - mean) / std
    assert between.mean(1).std() < 2 / 32
    assert between.mean(0).std() == pytest.approx(count**-0.5, rel=0.1)


# One step each


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_one_step_of_each_predictor(sde):
    rng = np.random.default_rng(0)
    x, score, z = rng.normal(size=(3, 2, 2, 2, 1))
    t, dt = np.asarray([0.3, 0.8]), 0.01
    predictors = ("reverse_diffusion", "euler_maruyama", "none", "ancestral")
    step = jax.jit(lambda *a: [predict(sde, *a, predictor=predictor) for predictor in predictors])
    found = step(score, x, t, dt, z)
    for i in range(2):
        (alpha, std, beta, g2, noise), (a_next, std_next, *_) = (numpy_process(sde, s, dt) for s in (t[i], t[i] - dt))
        # The posterior of x_(t - dt) given x_t and x_0, by Bayes' rule for Gaussians: x_t = r x_(t - dt) + noise of q.
        r, x_0 = alpha / a_next, (x[i] + std**2 * score[i]) / alpha
        q = std**2 - (r * std_next) ** 2
        ancestral = (a_next * x_0 * q + r * std_next**2 * x[i]) / std**2
        np.testing.assert_allclose(found[3][1][i], ancestral, rtol=1e-3, atol=1e-4)
        spread = std_next * np.sqrt(q) / std
        np.testing.assert_allclose(found[3][0][i], ancestral + spread * z[i], rtol=1e-3, atol=1e-4)
        euler = x[i] + (0.5 * beta * x[i] + g2 * score[i]) * dt
        if isinstance(sde, VP) and not isinstance(sde, SubVP):
            mean = x[i] - (np.sqrt(1 - noise) - 1) * x[i] + noise * score[i]
        else:
            mean = x[i] + 0.5 * beta * dt * x[i] + noise * score[i]
        np.testing.assert_allclose(found[0][1][i], mean, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[0][0][i], mean + np.sqrt(noise) * z[i], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[1][1][i], euler, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[1][0][i], euler + np.sqrt(g2 * dt) * z[i], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[2], np.broadcast_to(x, (2, *x.shape)), rtol=1e-6)


@pytest.mark.parametrize(("sde", "alphas"), [(VE(), (1.0, 1.0)), (VP(), (1 - 0.0607, 1 - 0.1602))], ids=repr)
def test_one_langevin_step(sde, alphas):
    """eps = 2 alpha (snr |z| / |s|)^2 with each image's own norms; alpha = 1 - beta dt for VP."""
    rng = np.random.default_rng(1)
    x, score, z = rng.normal(size=(3, 2, 2, 2, 1)) * np.asarray([1.0, 5.0]).reshape(2, 1, 1, 1)
    find = jax.jit(lambda *a: correct(sde, *a, corrector="langevin", snr=0.16))
    found = find(score, x, np.asarray([0.3, 0.8]), 0.01, z)
    for i in range(2):
        eps = 2 * alphas[i] * (0.16 * np.linalg.norm(z[i]) / np.linalg.norm(score[i])) ** 2
        np.testing.assert_allclose(found[i], x[i] + eps * score[i] + np.sqrt(2 * eps) * z[i], rtol=1e-4, atol=1e-5)
    assert np.isfinite(find(0 * score, x, np.asarray([0.3, 0.8]), 0.01, z)).all()  # where the score vanishes


def test_correction_comes_before_prediction_and_the_last_noise_is_left_out():
    """Three steps with two corrections each, again in NumPy from the same noise."""
    sde, steps, shape, snr, corrections = VP(), 3, (2, 1, 1), 0.3, 2
    k = keys(2, seed=5)
    draw = jax.jit(lambda tag: noise_for(k, tag, shape))
    noise = iter([np.asarray(draw(tag), np.float64).reshape(2, 2) for tag in range(1 + steps * (corrections + 1))])

    dt, x = (1 - sde.sampling_eps) / (steps - 1), next(noise)
    for i in range(steps):
        t = 1 - i * dt
        alpha, std, _, _, step = numpy_process(sde, t, dt)
        for _ in range(corrections):
            z, score = next(noise), -(x - alpha * M) / (alpha**2 * S**2 + std**2)
            ratio = np.linalg.norm(z, axis=1, keepdims=True) / np.linalg.norm(score, axis=1, keepdims=True)
            eps = 2 * (1 - step) * (snr * ratio) ** 2
            x = x + eps * score + np.sqrt(2 * eps) * z
        score = -(x - alpha * M) / (alpha**2 * S**2 + std**2)
        mean = (2 - np.sqrt(1 - step)) * x + step * score if i < steps - 1 else (x + std**2 * score) / alpha
        x = mean + np.sqrt(step) * next(noise)

    found = jax.jit(lambda k: predictor_corrector(
        k, gaussian_score(sde), sde, shape, steps=steps, snr=snr, corrector_steps=corrections
    ))(k)
    np.testing.assert_allclose(np.reshape(found, (2, 2)), mean, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(("corrector", "norms"), [("annealed_langevin", "image"), ("langevin", "batch")])
def test_other_correctors(corrector, norms):
    """eps = 2 alpha (snr std)^2, and eps = 2 alpha (snr mean |z| / mean |s|)^2 as the released code has them."""
    sde, t, dt, snr = VP(), np.asarray([0.3, 0.8]), 0.01, 0.2
    x, score, z = np.random.default_rng(2).normal(size=(3, 2, 2, 2, 1))
    options = dict(corrector=corrector, snr=snr, norms=norms)
    found = jax.jit(lambda *a: correct(sde, *a, **options))(score, x, t, dt, z)
    norm = lambda y: np.linalg.norm(y.reshape(2, -1), axis=1).mean()  # noqa: E731
    for i in range(2):
        _, std, beta, *_ = numpy_process(sde, t[i], dt)
        ratio = std if corrector == "annealed_langevin" else norm(z) / norm(score)
        eps = 2 * (1 - beta * dt) * (snr * ratio) ** 2
        np.testing.assert_allclose(found[i], x[i] + eps * score[i] + np.sqrt(2 * eps) * z[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "ancestral", "euler_maruyama"])
@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_few_steps_leave_no_noise(sde, predictor):
    """Data that are one point come back as that point, however long the steps."""
    score_fn = lambda x, t: -(x - sde.marginal(t)[0][:, None] * M) / sde.marginal(t)[1][:, None] ** 2  # noqa: E731
    options = dict(steps=50, predictor=predictor, corrector="none")
    draw = jax.jit(lambda k: predictor_corrector(k, score_fn, sde, (3,), **options))
    np.testing.assert_allclose(draw(keys(20)), M, atol=1e-3)


# Guidance


@pytest.mark.parametrize("sde", [VE(0.02, 9.0), VP()], ids=repr)
def test_guided_samples_are_of_the_requested_component(sde):
    """Two Gaussians at +-1 in every pixel, of unequal weight, with their exact score and posterior."""
    weights = jnp.asarray([0.2, 0.8])
    means = jnp.asarray([1.0, -1.0])[:, None] * jnp.ones(4)

    def log_joint(x, t):
        alpha, std = (v[:, None] for v in sde.marginal(t))
        squares = ((x.reshape(-1, 1, 4) - alpha[..., None] * means) ** 2).sum(-1)
        return jnp.log(weights) - squares / (2 * (alpha**2 * S**2 + std**2))

    def score_fn(x, t):
        alpha, std = (v[:, None] for v in sde.marginal(t))
        posterior = jax.nn.softmax(log_joint(x, t))
        flat = (alpha * (posterior @ means) - x.reshape(-1, 4)) / (alpha**2 * S**2 + std**2)
        return flat.reshape(x.shape)

    labels = jnp.arange(200) % 2

    @jax.jit
    def run(k, scale):
        guided = guided_score(score_fn, lambda x, t: (log_joint(x, t), x), labels, scale=scale)
        return predictor_corrector(k, guided, sde, (2, 2, 1), steps=80, corrector="none")

    guided, free = (np.asarray(run(keys(200), scale)).reshape(200, 4) for scale in (1.0, 0.0))
    target = np.where(np.arange(200) % 2 == 0, 1.0, -1.0)
    assert (np.sign(guided.mean(1)) == target).all()
    assert (guided * target[:, None]).mean() == pytest.approx(1.0, abs=0.06)
    assert (guided - target[:, None]).std() == pytest.approx(S, abs=0.1)
    assert (np.sign(free.mean(1)) == 1).mean() == pytest.approx(0.2, abs=0.1)  # without guidance: the mixture


# Images by themselves


def coupled_score(x, t):
    return -(x - M) / (1 + 9.0 * t.reshape(-1, 1, 1, 1)) ** 2


@pytest.fixture(scope="module")
def draw():
    sde = VE(0.02, 9.0)
    return jax.jit(lambda k: predictor_corrector(k, coupled_score, sde, SHAPE, steps=6))


def test_an_image_depends_on_its_key_alone(draw):
    """Not on the size of its batch, its place, or its neighbours."""
    many = np.asarray(draw(keys(7)))
    np.testing.assert_allclose(draw(keys(7)[2:5]), many[2:5], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(draw(image_keys(jax.random.key(0), jnp.arange(3, 6))), many[3:6], rtol=1e-5, atol=1e-5)
    mixed = draw(jnp.concatenate([keys(2, seed=9), keys(7)[5:6]]))
    np.testing.assert_allclose(mixed[2], many[5], rtol=1e-5, atol=1e-5)


def test_seeds_and_images_differ(draw):
    first, second = np.asarray(draw(keys(7, seed=0))), np.asarray(draw(keys(7, seed=1)))
    assert np.abs(first - second).reshape(7, -1).max(1).min() > 0.01
    assert len(np.unique(first.reshape(7, -1)[:, 0].round(4))) == 7


def test_norms_are_per_image():
    x = np.random.default_rng(3).normal(size=(3, 2, 4, 5))
    np.testing.assert_allclose(per_image_norm(jnp.asarray(x)), np.linalg.norm(x.reshape(3, -1), axis=1), rtol=1e-5)


def test_noise_is_normal_and_differs_by_tag():
    first, second = (np.asarray(noise_for(keys(500), tag, (2, 3))) for tag in (0, 1))
    assert first.shape == (500, 2, 3)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.08
    assert first.std() == pytest.approx(1, abs=0.06)
