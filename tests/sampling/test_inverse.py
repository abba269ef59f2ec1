"""Inpainting and colourisation of Gaussian data, whose conditional distributions are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.sampling.few_steps import few_steps
from scoressl_jax.sampling.inverse import HIDDEN, colorization, inpainting, mask_of
from scoressl_jax.sampling.loop import image_keys
from scoressl_jax.sampling.predictor_corrector import predictor_corrector
from scoressl_jax.sde import VE, VP, SubVP

PROCESSES = [VE(0.01, 20.0), VP(), SubVP()]
COUNT, MEAN, SPREAD, CORRELATION = 400, 0.5, 0.3, 0.9


def pair_score(sde):
    """Data [B, 1, 2, C]: the two pixels of a channel are correlated Gaussians, channels are independent."""

    def score_fn(x, t):
        alpha, std = sde.marginal(t)
        covariance = SPREAD**2 * jnp.asarray([[1, CORRELATION], [CORRELATION, 1]])
        total = alpha[:, None, None] ** 2 * covariance + std[:, None, None] ** 2 * jnp.eye(2)
        off = x - alpha[:, None, None, None] * MEAN
        return -jnp.einsum("bij,bhjc->bhic", jnp.linalg.inv(total), off)

    return score_fn


def keys():
    return image_keys(jax.random.key(0), jnp.arange(COUNT))


@pytest.mark.parametrize("sde", PROCESSES, ids=repr)
def test_inpainting(sde):
    """The known pixel comes back as it is; the other follows it: mean m + rho (known - m), spread s sqrt(1 - rho^2).

    Replacing the known part is an approximation (Song et al. 2021, I.2), which corrections make better: hence the room
    in slope and spread.
    """
    known = MEAN + SPREAD * np.random.default_rng(0).normal(size=(COUNT, 1, 2, 1)).astype(np.float32)
    project = inpainting(sde, jnp.asarray(known), mask_of("right", (1, 2, 1)))
    corrected = dict(corrector="annealed_langevin", snr=0.3, corrector_steps=4)
    x = np.asarray(jax.jit(
        lambda k: predictor_corrector(k, pair_score(sde), sde, (1, 2, 1), steps=150, **corrected, project=project)
    )(keys()))
    np.testing.assert_array_equal(x[:, 0, 0], known[:, 0, 0])
    slope, offset = np.polyfit(known[:, 0, 0, 0] - MEAN, x[:, 0, 1, 0] - MEAN, 1)
    assert slope == pytest.approx(CORRELATION, abs=0.1)
    assert offset == pytest.approx(0, abs=0.03)
    left = x[:, 0, 1, 0] - MEAN - slope * (known[:, 0, 0, 0] - MEAN)
    assert left.std() == pytest.approx(SPREAD * np.sqrt(1 - CORRELATION**2), rel=0.2)
    assert np.abs(x[:, 0, 1] - known[:, 0, 1]).mean() > 0.1, "the hidden pixel is not looked at"


def test_the_hidden_part_is_denoised_at_the_end():
    """The last mean has no noise of its own step: for data that are one point it is that point, everywhere."""
    sde, point = VE(0.01, 20.0), 0.7
    score_fn = lambda x, t: -(x - point) / sde.marginal(t)[1].reshape(-1, 1, 1, 1) ** 2  # noqa: E731
    project = inpainting(sde, jnp.full((COUNT, 1, 2, 1), point), mask_of("right", (1, 2, 1)))
    x = predictor_corrector(keys(), score_fn, sde, (1, 2, 1), steps=20, corrector="none", project=project)
    np.testing.assert_allclose(x, point, atol=1e-4)


@pytest.mark.parametrize("solver", ["ddim", "dpm_solver", "heun"])
def test_solvers_of_few_steps_take_the_hook(solver):
    sde, known = VP(), jnp.full((COUNT, 1, 2, 1), 0.2)
    project = inpainting(sde, known, mask_of("right", (1, 2, 1)))
    x = np.asarray(jax.jit(
        lambda k: few_steps(k, pair_score(sde), sde, (1, 2, 1), steps=30, solver=solver, eta=1.0, project=project)
    )(keys()))
    np.testing.assert_array_equal(x[:, 0, 0], np.float32(0.2))
    # Drawn from 0.5 towards the known pixel, to 0.5 - 0.9 * 0.3 if the conditioning were exact.
    assert 0.2 < x[:, 0, 1].mean() < 0.4


@pytest.mark.parametrize("sde", PROCESSES[:2], ids=repr)
def test_colorization(sde):
    """The mean of the channels is given; it comes back, and the colours around it vary as in the data."""
    images = MEAN + SPREAD * np.random.default_rng(1).normal(size=(COUNT, 1, 2, 3)).astype(np.float32)
    project = colorization(sde, jnp.asarray(images))
    x = np.asarray(jax.jit(
        lambda k: predictor_corrector(k, pair_score(sde), sde, (1, 2, 3), steps=150, corrector="none", project=project)
    )(keys()))
    np.testing.assert_allclose(x.mean(-1), images.mean(-1), atol=1e-4)
    colours, expected = x - x.mean(-1, keepdims=True), SPREAD * np.sqrt(2 / 3)
    assert colours.std() == pytest.approx(expected, rel=0.12)
    given = images - images.mean(-1, keepdims=True)
    assert abs(np.corrcoef(colours.ravel(), given.ravel())[0, 1]) < 0.1, "the true colours are not looked at"


def test_only_grey_reaches_the_colourisation():
    """Two images with the same grey give the same result."""
    sde, rng = VP(), np.random.default_rng(2)
    images = rng.uniform(size=(COUNT, 1, 2, 3)).astype(np.float32)
    others = images[..., [2, 0, 1]]
    a, b = (
        colorization(sde, jnp.asarray(i))(jnp.zeros_like(images), jnp.full(COUNT, 0.3), jnp.zeros_like(images))
        for i in (images, others)
    )
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("hidden", "known"), [("right", [[1, 0]] * 4), ("bottom", [[1, 1], [1, 1], [0, 0], [0, 0]])]
)
def test_masks(hidden, known):
    np.testing.assert_array_equal(mask_of(hidden, (4, 2, 3))[..., 0], np.asarray(known, bool))


def test_the_centre_is_half_as_wide():
    mask = mask_of("center", (8, 8, 1))[..., 0]
    assert not mask[2:6, 2:6].any()
    assert mask.sum() == 64 - 16
    assert set(HIDDEN) == {"right", "bottom", "center"}
