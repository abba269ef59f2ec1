import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import SIZES, softmax
from scipy.special import logsumexp

from scoressl_jax.methods.learner import Learner
from scoressl_jax.methods.ssl_vae import SSLVAE, over_classes

CLASSES = 3
rng = np.random.default_rng(0)
LOGITS, BOUNDS, FIRST = rng.normal(size=(8, CLASSES)), rng.normal(-50, 5, (8, CLASSES)), rng.normal(-40, 5, 8)
BATCH = {"x": rng.uniform(size=(3, 2, 2, 1)), "y": np.array([2, 0, 1]), "x_u": rng.uniform(size=(5, 2, 2, 1))}
SHARE = 3 / 12


def run(method, progress=1.0, network=None):
    def known(x, key, method):
        np.testing.assert_allclose(x, np.concatenate([BATCH["x"], BATCH["x_u"]]), rtol=1e-6)
        assert method == "everything"
        return {"logits": jnp.asarray(LOGITS), "bounds": jnp.asarray(BOUNDS), "first": jnp.asarray(FIRST)}

    memory = method.start(SIZES._replace(labeled=3))
    learner = Learner(network or known, None, None, None, progress)
    loss, logs, after = method.loss(learner, jax.tree.map(jnp.asarray, BATCH), jax.random.key(0), memory)
    assert after == memory
    return loss, logs


def terms():
    ce = -np.log(softmax(LOGITS[:3])[range(3), BATCH["y"]]).mean()
    q = softmax(LOGITS[3:])
    unknown = ((q * BOUNDS[3:]).sum(1) - (q * np.log(q)).sum(1)).mean()
    return ce, BOUNDS[range(3), BATCH["y"]].mean(), unknown


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_m2_is_the_bounds_of_labelled_and_unlabelled_images_and_the_classifier(progress):
    ce, known, unknown = terms()
    loss, logs = run(SSLVAE(stacked=False, alpha=0.3), progress)
    assert loss == pytest.approx(0.3 * ce - SHARE * known - unknown, rel=1e-5)
    assert logs["ce"] == pytest.approx(ce, rel=1e-5)
    assert logs["bound"] == pytest.approx(unknown, rel=1e-5)


def test_m1_is_fitted_first():
    ce, known, unknown = terms()
    for progress, expected in ((0.0, -FIRST.mean()), (0.39, -FIRST.mean()), (0.4, 0.1 * ce - SHARE * known - unknown)):
        loss, logs = run(SSLVAE(first=0.4), progress)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert logs["first_bound"] == pytest.approx(FIRST.mean(), rel=1e-5)


def test_of_exact_bounds_and_posterior_it_is_the_likelihood():
    """The sum over classes: log p(x) is logsumexp of log p(x, y), and less with any other q."""
    exact = logsumexp(BOUNDS, axis=1)
    np.testing.assert_allclose(over_classes(jnp.asarray(BOUNDS), jnp.asarray(BOUNDS)), exact, rtol=1e-5)
    assert (np.asarray(over_classes(jnp.asarray(LOGITS), jnp.asarray(BOUNDS))) < exact).all()


@pytest.mark.parametrize(("progress", "moved"), [(0.0, {"first_encoder", "first_decoder"}),
                                                 (1.0, {"classifier", "encoder", "decoder"})])  # fmt: skip
def test_each_part_learns_in_its_time(progress, moved):
    method = SSLVAE(first=0.5, width=4, latent=2)
    vae = method.network(CLASSES, (2, 2, 1))
    params = vae.init(jax.random.key(0), jnp.asarray(BATCH["x"]))

    def loss(params):
        return run(method, progress, lambda x, **options: vae.apply(params, x, **options))[0]

    slopes = jax.jit(jax.grad(loss))(params)["params"]
    found = {name for name, part in slopes.items() if max(np.abs(leaf).max() for leaf in jax.tree.leaves(part)) > 0}
    assert found == moved


def test_the_network_has_its_fields():
    vae = SSLVAE(stacked=False, width=7, latent=3).network(4, (5, 6, 2))
    assert (vae.num_classes, vae.pixels, vae.stacked, vae.width, vae.latent) == (4, 60, False, 7, 3)


def test_paper():
    """The authors' code: 3,000 passes of 200 batches, alpha .1, 50 latent dimensions, 500 hidden units, AdaM 3e-4."""
    method, paper = SSLVAE(), SSLVAE.PAPER
    assert paper["steps"] == 3000 * 200
    assert paper["unlabeled_batch_size"] == 60_000 / 200
    assert paper["learning_rate"] == 3e-4
    assert (method.alpha, method.latent, method.width, method.stacked) == (0.1, 50, 500, True)
