import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import quick, softmax
from scipy.special import logsumexp

from scoressl_jax.errors import UserError
from scoressl_jax.methods.flow_gmm import FlowGMM
from scoressl_jax.methods.learner import Learner

SHAPE, CLASSES = (4, 4, 1), 3
rng = np.random.default_rng(0)
SLOPES = rng.normal(size=(16, CLASSES))
BATCH = {"x": rng.uniform(size=(3, *SHAPE)), "y": np.array([2, 0, 1]), "x_u": rng.uniform(size=(5, *SHAPE))}


def joint(x):
    """A network's log p(x, class) and latent points, of another scale than probabilities."""
    z = 9 * x.reshape(len(x), -1)
    return z @ SLOPES - 20, z


def weak(x, key):
    return jnp.clip(x + jax.random.uniform(key, x.shape, minval=-0.9, maxval=0.9), 0, 1)


def run(method, progress=1.0):
    """(loss, logs, what the network was given, the keys of its noise)."""
    given = []

    def network(x, key):
        given.append(len(x))
        return joint(x)

    def loss(batch, key):
        value, logs, memory = method.loss(Learner(network, None, weak, None, progress), batch, key, method.start(None))
        assert memory == ()
        return value, logs

    value, logs = quick(loss, jax.tree.map(jnp.asarray, BATCH), jax.random.key(0))
    return float(value), {name: float(v) for name, v in logs.items()}, given


def views():
    key_x, key_one, key_other, _ = jax.random.split(jax.random.key(0), 4)
    return [np.asarray(weak(jnp.asarray(BATCH[n]), k)) for n, k in (("x", key_x), ("x_u", key_one), ("x_u", key_other))]


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (1.0, 1.0)])
def test_labels_likelihood_and_consistency(progress, share):
    x, one, other = (joint(view)[0] for view in views())
    ce = -np.log(softmax(x)[range(3), BATCH["y"]]).mean()
    nll = -logsumexp(np.concatenate([x, one]), axis=1).mean()
    labels = other.argmax(1)
    assert (labels != one.argmax(1)).any(), "copies that differ"
    consistency = -one[range(5), labels].mean()
    value, logs, given = run(FlowGMM(label_weight=3.0, weight=0.7, warm_up=0.2), progress)
    assert value == pytest.approx(3 * ce + nll + share * 0.7 * consistency, rel=1e-5)
    assert logs["ce"] == pytest.approx(ce, rel=1e-5)
    assert logs["bits"] == pytest.approx(nll / 16 / np.log(2), rel=1e-5)
    assert logs["consistency"] == pytest.approx(consistency, rel=1e-5)
    assert given == [3 + 5 + 5]


def test_the_network_has_its_fields():
    flow = FlowGMM(width=7, couplings=3, spread=0.5).network(4, (8, 4, 2))
    assert (flow.num_classes, flow.width, flow.couplings, flow.spread) == (4, 7, 3, 0.5)


@pytest.mark.parametrize("shape", [(6, 8, 1), (8, 6, 1)])
def test_images_that_cannot_be_squeezed(shape):
    with pytest.raises(
        UserError, match=f"images are {shape[0]} x {shape[1]}: flow_gmm takes heights and widths of 4 n"
    ):
        FlowGMM().network(3, shape)


def test_paper():
    """FlowGMM's repository, MNIST: 30,001 passes over 100 labels by batches of 32, a ramp of 1,000 of them."""
    paper = FlowGMM.PAPER
    assert (paper["batch_size"], paper["unlabeled_batch_size"]) == (32, 32)
    assert paper["steps"] == pytest.approx(30_001 * np.ceil(100 / 32), rel=1e-3)
    assert (paper["learning_rate"], paper["clip"]) == (1e-5, 100)
    method = FlowGMM()
    assert method.warm_up == pytest.approx(1000 / 30_001, rel=0.02)
    assert (method.label_weight, method.weight, method.spread) == (3, 1, 1)
