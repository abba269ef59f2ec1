from functools import partial

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


# Targets that are probabilities


def shares(seed, count=6, classes=4):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), count)


def test_soft_cross_entropy_is_the_weighted_sum_over_classes():
    logits, p, weights = 3 * np.random.default_rng(0).normal(size=(6, 4)), shares(1), np.array([0, 1, 0.5, 0, 2, 1])
    soft = jax.jit(semi_supervised.soft_cross_entropy)
    each = -(p * log_softmax(logits)).sum(-1)
    np.testing.assert_allclose(soft(logits, p), each.mean(), rtol=1e-5)
    np.testing.assert_allclose(soft(logits, p, weights), (weights * each).sum() / 6, rtol=1e-5)
    y = np.array([0, 3, 1, 2, 2, 0])
    np.testing.assert_allclose(soft(logits, np.eye(4)[y], weights), cross_entropy(logits, y, weights), rtol=1e-5)
    gradient = jax.grad(soft)(jnp.asarray(logits), p, weights)
    expected = weights[:, None] * (np.exp(log_softmax(logits)) - p) / 6
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_squared_difference_is_of_probabilities_over_batch_and_classes():
    logits, p, weights = 3 * np.random.default_rng(2).normal(size=(6, 4)), shares(3), np.array([0, 1, 0.5, 0, 2, 1])
    squared = jax.jit(semi_supervised.squared_difference)
    each = ((np.exp(log_softmax(logits)) - p) ** 2).sum(-1) / 4
    np.testing.assert_allclose(squared(logits, p), each.mean(), rtol=1e-5)
    np.testing.assert_allclose(squared(logits, p, weights), (weights * each).sum() / 6, rtol=1e-5)
    assert squared(logits + 7.0, np.exp(log_softmax(logits))) < 1e-10


def test_sharpening_by_hand():
    p = np.array([[0.6, 0.3, 0.1], [1.0, 0.0, 0.0], [1 / 3] * 3])
    expected = np.array([[0.36 / 0.46, 0.09 / 0.46, 0.01 / 0.46], [1, 0, 0], [1 / 3] * 3])
    np.testing.assert_allclose(semi_supervised.sharpen(p, 0.5), expected, rtol=1e-5)
    np.testing.assert_allclose(semi_supervised.sharpen(p, 1.0), p, rtol=1e-5)
    np.testing.assert_allclose(semi_supervised.sharpen(p[:2], 1e-3), [[1, 0, 0], [1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("nearer", [False, True])
@pytest.mark.parametrize("per_image", [False, True])
def test_mixup_mixes_images_and_targets_of_a_permutation_by_the_same_share(per_image, nearer):
    """Images and targets that tell who they are of: x_i = e_i."""
    count = 64
    mix = jax.jit(partial(semi_supervised.mixup, alpha=0.75, per_image=per_image, nearer=nearer))
    every = []
    for seed in range(30):
        x, (p, other) = mix(
            jnp.eye(count).reshape(count, 8, 8, 1), (jnp.eye(count), 3 * jnp.eye(count)), jax.random.key(seed)
        )
        x, p = np.asarray(x).reshape(count, count), np.asarray(p)
        np.testing.assert_array_equal(p, x)
        np.testing.assert_allclose(other, 3 * x, rtol=1e-6)
        np.testing.assert_allclose(x.sum(1), 1, rtol=1e-5)
        rest = x - np.diag(np.diag(x))
        assert ((rest > 0).sum(1) <= 1).all()
        assert ((rest > 0).sum(0) <= 1).all(), "a permutation: nobody is the partner of two"
        moved = rest.any(1)
        assert moved.mean() > 0.8 or np.diag(x).min() > 0.99
        own = np.diag(x)[moved]
        assert (np.ptp(own) > 0.2) == per_image
        every.append(own if per_image else own[:1])
    own = np.concatenate(every)
    if nearer:
        assert own.min() >= 0.5
    else:
        assert own.min() < 0.2
    spread = np.random.default_rng(0).beta(0.75, 0.75, 100_000)
    expected = np.maximum(spread, 1 - spread) if nearer else spread
    assert own.mean() == pytest.approx(expected.mean(), abs=0.03 if per_image else 0.15)
    if per_image:
        assert own.std() == pytest.approx(expected.std(), abs=0.02)


def test_alignment_moves_predictions_towards_the_expected_classes():
    p, target, seen = shares(5), np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1])
    expected = p * target / seen
    np.testing.assert_allclose(
        semi_supervised.aligned(p, target, seen), expected / expected.sum(1, keepdims=True), rtol=1e-5
    )
    np.testing.assert_allclose(semi_supervised.aligned(p, seen, seen), p, rtol=1e-5)
    assert np.isfinite(semi_supervised.aligned(p, target, np.array([1.0, 0, 0, 0]))).all()


def test_adaptive_thresholds_by_a_loop_over_steps():
    """Wang et al. 2023, eq. 5 to 8: tau_0 = p_0 = 1 / C, averages of the greatest and of all probabilities."""
    confidence, mean, decay = 1 / 4, np.full(4, 1 / 4), 0.9
    of_package = jnp.float32(confidence), jnp.asarray(mean)
    for step in range(5):
        p = shares(step, 10)
        confidence = decay * confidence + (1 - decay) * sum(max(row) for row in p) / 10
        mean = decay * mean + (1 - decay) * np.array([sum(row[c] for row in p) / 10 for c in range(4)])
        of_package = (
            semi_supervised.running(of_package[0], p.max(1).mean(), decay),
            semi_supervised.running(of_package[1], p.mean(0), decay),
        )
        expected = [confidence * mean[c] / max(mean) for c in range(4)]
        np.testing.assert_allclose(semi_supervised.adaptive_thresholds(*of_package), expected, rtol=1e-5)
    assert max(expected) == pytest.approx(confidence)
    assert min(expected) < 0.98 * confidence
