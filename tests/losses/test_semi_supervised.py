import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.losses import semi_supervised

cross_entropy, pseudo_labels, consistency = (
    jax.jit(f) for f in (semi_supervised.cross_entropy, semi_supervised.pseudo_labels, semi_supervised.consistency)
)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_cross_entropy_is_the_mean_log_loss():
    rng = np.random.default_rng(0)
    logits, y = 3 * rng.normal(size=(7, 4)), rng.integers(0, 4, 7)
    expected = -log_softmax(logits)[np.arange(7), y].mean()
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), jnp.asarray(y)), expected, rtol=1e-5)


def test_masked_cross_entropy_divides_by_the_whole_batch():
    """Three of four images are masked out: the fourth's loss counts a quarter."""
    logits = np.asarray([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5], [-1.0, 1.0]])
    y, mask = np.asarray([1, 1, 0, 0]), np.asarray([0.0, 0.0, 0.0, 1.0])
    expected = np.log(1 + np.exp(2.0)) / 4
    found = cross_entropy(logits, y, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert cross_entropy(jnp.asarray(logits), jnp.asarray(y), jnp.zeros(4)) == 0


def test_cross_entropy_of_hopeless_logits_is_finite():
    found, grad = jax.jit(jax.value_and_grad(cross_entropy))(jnp.asarray([[1e4, 0.0]]), jnp.asarray([1]))
    assert found == pytest.approx(1e4)
    assert np.isfinite(grad).all()


def test_pseudo_labels_are_confident_predictions():
    p = np.asarray([[0.96, 0.04, 0.0], [0.94, 0.05, 0.01], [0.001, 0.001, 0.998], [0.4, 0.3, 0.3]]) + 1e-9
    labels, mask = pseudo_labels(np.log(p) + 5.0, 0.95)
    np.testing.assert_array_equal(labels, [0, 0, 2, 0])
    np.testing.assert_array_equal(mask, [1, 0, 1, 0])


def test_pseudo_label_threshold_is_inclusive():
    """Two equal logits have probability one half exactly."""
    tie = jnp.zeros((1, 2))
    assert pseudo_labels(tie, 0.5)[1] == 1
    assert pseudo_labels(tie, np.nextafter(np.float32(0.5), np.float32(1)))[1] == 0
    assert pseudo_labels(tie + 100.0, 0.5)[1] == 1


def test_no_gradient_flows_through_pseudo_labels():
    def loss(logits):
        labels, mask = pseudo_labels(logits, 0.5)
        return (mask * (1 + logits[:, 0] * 0)).sum() + cross_entropy(jnp.ones((3, 2)), labels, mask)

    logits = jnp.asarray([[2.0, 0.0], [0.0, 3.0], [0.1, 0.0]])
    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(logits), 0)
    # As targets they leave cross-entropy its ordinary gradient, (p - onehot) / B where the mask is 1.
    found = jax.jit(jax.grad(lambda v: cross_entropy(v, *pseudo_labels(v, 0.9))))(logits)
    p = np.exp(log_softmax(np.asarray(logits)))
    expected = np.asarray([[0.0, 0.0], p[1] - [0, 1], [0.0, 0.0]]) / 3
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_consistency_is_the_mean_square():
    a = jnp.asarray([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
    b = jnp.asarray([[1.0, 0.0, 6.0], [0.0, 1.0, 1.0]])
    assert consistency(a, a) == 0
    assert consistency(a, b) == pytest.approx((4 + 9 + 1) / 6)
    assert consistency(b, a) == pytest.approx((4 + 9 + 1) / 6)


def test_consistency_pulls_both_views():
    a, b = jnp.asarray([[1.0, 2.0]]), jnp.asarray([[0.0, 5.0]])
    grad_a, grad_b = jax.jit(jax.grad(consistency, argnums=(0, 1)))(a, b)
    np.testing.assert_allclose(grad_a, [[1.0, -3.0]])
    np.testing.assert_allclose(grad_b, [[-1.0, 3.0]])
