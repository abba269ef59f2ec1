"""Every sampler with every process draws from distributions whose scores are exact, unguided and guided."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.guidance import guided_score
from scoressl_jax.sampling.few_steps import few_steps
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.sampling.ode import ode_sampler
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP
from tests.sampling.exact import classifier, make_mixture, score

SHAPE = (8, 8, 1)
PROCESSES = {"ve": VE(0.01, 30.0), "vp": VP(), "subvp": SubVP()}
COUNT = 360


def chain(steps=400, **options):
    return lambda *a: predictor_corrector(*a, steps=steps, **options)


def few(steps, **options):
    return lambda *a: few_steps(*a, steps=steps, **options)


SAMPLERS = {
    "reverse_diffusion": chain(corrector="none"),
    "ancestral": chain(600, predictor="ancestral", corrector="none"),
    "euler_maruyama": chain(predictor="euler_maruyama", corrector="none"),
    "langevin": chain(250, snr=0.05),
    "langevin, norms of the batch": chain(250, snr=0.05, norms="batch"),
    "annealed_langevin": chain(250, corrector="annealed_langevin", snr=0.05),
    "ddim": few(250, solver="ddim", schedule="log_sigma"),
    "ddim, eta 0.5": few(300, solver="ddim", schedule="log_sigma", eta=0.5),
    "ddim, eta 1, even times": few(600, solver="ddim", schedule="time", eta=1.0),
    "dpm_solver": few(60, solver="dpm_solver"),
    "heun": few(60, solver="heun"),
    "ode": lambda *a: ode_sampler(*a, tolerance=1e-4),
}
ONE, TWO = make_mixture(apart=0.0), make_mixture()
LABELS = jnp.arange(COUNT) % 2


@pytest.fixture(scope="module")
def drawn():
    """(sampler, process) -> samples `[COUNT, 64]` of one Gaussian, of the mixture, and guided to LABELS."""
    kept = {}

    def draw(name, process):
        if (name, process) not in kept:
            sde = PROCESSES[process]

            @jax.jit
            def run(keys, means, scale):
                mixture = make_mixture()
                mixture = type(mixture)(mixture.weights, means, mixture.axes, mixture.spreads)
                guided = guided_score(score(mixture, sde), classifier(mixture, sde), LABELS, scale=scale)
                return SAMPLERS[name](keys, guided, sde, SHAPE)

            keys = image_keys(jax.random.key(7), jnp.arange(COUNT))
            cases = ((ONE, 0.0), (TWO, 0.0), (TWO, 1.0))
            kept[name, process] = [np.asarray(run(keys, m.means, scale)).reshape(COUNT, -1) for m, scale in cases]
        return kept[name, process]

    return draw


def assert_gaussian(x, mean, mixture, axes):
    """Mean and covariance of x `[N, D]` along `axes`: 5 standard errors, and 4 % of the spread for finite steps."""
    along, spreads = (x - mean) @ mixture.axes[:, axes], mixture.spreads[axes]
    np.testing.assert_array_less(np.abs(along.mean(0)), spreads * (5 / np.sqrt(len(x)) + 0.04))
    covariance = np.cov(along.T) / np.outer(spreads, spreads)
    np.testing.assert_allclose(np.diag(covariance), 1, atol=5 * np.sqrt(2 / len(x)) + 0.08)
    assert np.diag(covariance).mean() == pytest.approx(1, abs=0.07)  # standard error 0.01; finite steps
    off = covariance - np.diag(np.diag(covariance))
    assert np.abs(off).max() < 5.5 / np.sqrt(len(x)) + 0.02


CASES = [(name, process) for name in SAMPLERS for process in PROCESSES]
# Every sampler with one process, and each process with a third of them; the other pairs take minutes to compile.
QUICK = [(name, list(PROCESSES)[i % 3]) for i, name in enumerate(SAMPLERS)]


@pytest.mark.parametrize(("name", "process"), QUICK)
def test_exact_scores(drawn, name, process):
    assert_exact(drawn(name, process))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "process"), [case for case in CASES if case not in QUICK])
def test_exact_scores_of_the_other_pairs(drawn, name, process):
    assert_exact(drawn(name, process))


def assert_exact(samples):
    gaussian, mixed, guided = samples
    every, others = np.arange(64), np.arange(1, 64)
    assert_gaussian(gaussian, 0.4, ONE, every)

    side = (mixed - 0.4) @ TWO.axes[:, 0]
    first = side > 0
    error = np.sqrt(0.3 * 0.7 / COUNT)
    assert abs(first.mean() - 0.3) < 4 * error + 0.02
    assert_gaussian(mixed, 0.4, TWO, others)  # along the other axes both components are the same
    for label, members in enumerate((first, ~first)):
        assert_gaussian(mixed[members], TWO.means[label], TWO, every)

    wanted = np.where(LABELS == 0, 1, -1)
    assert (np.sign((guided - 0.4) @ TWO.axes[:, 0]) == wanted).mean() > 0.99
    for label in (0, 1):
        assert_gaussian(guided[np.flatnonzero(label == LABELS)], TWO.means[label], TWO, every)


@pytest.mark.parametrize("name", ["langevin", "ddim, eta 0.5", "dpm_solver", "heun", "ode"])
def test_an_image_follows_from_its_key_alone(name):
    """Not from its place or its neighbours; another seed gives another image."""
    sde = PROCESSES["vp"]
    draw = jax.jit(lambda keys: SAMPLERS[name](keys, score(TWO, sde), sde, SHAPE))
    some, others = (np.asarray(draw(image_keys(jax.random.key(1), i))) for i in (jnp.arange(4), jnp.arange(3, 7)))
    np.testing.assert_allclose(others[0], some[3], atol=2e-4)
    assert np.abs(others[1:] - some[:3]).max() > 0.05
    reseeded = np.asarray(draw(image_keys(jax.random.key(2), jnp.arange(4))))
    assert np.abs(reseeded - some).reshape(4, -1).max(1).min() > 0.05


def test_norms_of_the_batch_make_neighbours_matter():
    sde = PROCESSES["ve"]
    draw = jax.jit(lambda keys: SAMPLERS["langevin, norms of the batch"](keys, score(TWO, sde), sde, SHAPE))
    some, others = (np.asarray(draw(image_keys(jax.random.key(1), i))) for i in (jnp.arange(4), jnp.arange(3, 7)))
    assert np.abs(others[0] - some[3]).max() > 1e-3


@pytest.mark.parametrize("name", ["reverse_diffusion", "ddim", "dpm_solver", "heun", "ode"])
def test_bfloat16_scores_stay_close(name):
    sde = PROCESSES["ve"]
    exact, keys = score(TWO, sde), image_keys(jax.random.key(3), jnp.arange(8))

    @jax.jit
    def draw(rounded):
        def score_fn(x, t):
            s = exact(x, t)
            return jnp.where(rounded, s.astype(jnp.bfloat16).astype(jnp.float32), s)

        return SAMPLERS[name](keys, score_fn, sde, SHAPE)

    fine, coarse = np.asarray(draw(False)), np.asarray(draw(True))
    assert 0 < np.sqrt(((fine - coarse) ** 2).mean()) < 0.02
