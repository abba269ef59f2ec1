import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_learner import (
    BATCH,
    CLASSES,
    SIZES,
    U,
    Y,
    assert_close,
    cross_entropy,
    key_of,
    one_hot,
    predicted,
    quick,
    run,
    strong,
)

from scoressl_jax.methods.laplacenet import LaplaceNet

# The graph step


def clusters(spread=0.05, sizes=(14, 6, 10), seed=0):
    """(features about three directions, classes, labels: one image of each class is labelled)."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.repeat(np.arange(3), sizes))
    features = np.eye(3, 5)[classes] + spread * rng.normal(size=(len(classes), 5))
    y = np.full(len(classes), -1)
    for c in range(3):
        y[np.flatnonzero(classes == c)[0]] = c
    return features.astype(np.float32), classes, y


def memory_of(count, shares=(1 / 3, 1 / 3, 1 / 3)):
    return {"labels": jnp.zeros(count, int), "weights": jnp.zeros(count), "shares": jnp.array(shares, jnp.float32)}


def test_images_that_look_alike_have_the_label_of_one_of_them():
    features, classes, y = clusters()
    method = LaplaceNet(neighbours=5)
    found = method.between(features, y, memory_of(30, (14 / 30, 6 / 30, 10 / 30)))
    np.testing.assert_array_equal(found["labels"], classes)
    assert found["labels"].dtype == np.int32
    assert found["weights"].dtype == np.float32
    assert found["weights"].min() > 0.9
    np.testing.assert_allclose(found["shares"], np.float32([14 / 30, 6 / 30, 10 / 30]))
    alike = dataclasses.replace(method, sure=False).between(features, y, memory_of(30))
    np.testing.assert_array_equal(alike["weights"], 1)


def by_hand(features, y, shares, k, power, alpha):
    """(labels, certainty, certainty of the labels alone): the graph in full matrices, solved at once."""
    count, unit = len(y), features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = unit @ unit.T
    weights = np.zeros((count, count))
    for i in range(count):
        others = [j for j in np.argsort(-similar[i]) if j != i][:k]
        weights[i, others] = np.maximum(similar[i, others], 0) ** power
    weights = np.maximum(weights, weights.T)
    degree = weights.sum(1)
    z = np.linalg.solve(np.eye(count) - alpha * weights / np.sqrt(np.outer(degree, degree)), (y[:, None] == range(3)))
    z = np.maximum(z, 0) / np.maximum(z, 0).sum(1, keepdims=True)
    z[y >= 0] = np.eye(3)[y[y >= 0]]
    before, free = z.argmax(1), y < 0
    for _ in range(100):
        share = np.bincount(z[free].argmax(1), minlength=3) / free.sum()
        z[free] *= np.clip(np.asarray(shares) / (share + 1e-7), 0.99, 1.01)
        z[free] /= z[free].sum(1, keepdims=True)
    entropy = -(z * np.log(np.maximum(z, 1e-30))).sum(1)
    return z.argmax(1), 1 - entropy / np.log(3), before


@pytest.mark.parametrize(
    ("k", "power", "alpha", "shares"),
    [(4, 3.0, 0.9, (0.3, 0.3, 0.4)), (8, 1.0, 0.99, (0.1, 0.7, 0.2)), (6, 2.0, 0.95, (0.5, 0.4, 0.1))],
)
def test_labels_and_certainty_are_those_of_the_graph_in_full(k, power, alpha, shares):
    features, _, y = clusters(spread=0.5, seed=1)
    labels, sure, before = by_hand(features.astype(np.float64), y, shares, k, power, alpha)
    assert (labels != before).any(), "class mass acts"
    method = LaplaceNet(neighbours=k, power=power, alpha=alpha)
    found = method.between(features, y, memory_of(30, shares))
    np.testing.assert_array_equal(found["labels"], labels)
    np.testing.assert_allclose(found["weights"], sure, atol=6e-3)
    np.testing.assert_array_equal(found["weights"][y >= 0], 1)
    np.testing.assert_array_equal(found["labels"][y >= 0], y[y >= 0])
    for other in (dict(neighbours=k + 2), dict(power=power + 2), dict(alpha=alpha - 0.3)):
        changed = dataclasses.replace(method, **other).between(features, y, memory_of(30, shares))["weights"]
        assert np.abs(changed - found["weights"]).max() > 0.01, other


# The loss


SURE = np.array([0.3, 1.0, 0.0, 0.8, 0.5, 0.9, 0.1, 0.7, 0.2, 0.6, 0.05, 0.4])
KNOWN = {"labels": (Y + 1) % CLASSES, "weights": SURE, "shares": np.ones(CLASSES) / 3}
IMAGES = strong(np.concatenate([BATCH["x"], BATCH["x_u"]]))
TARGETS = np.concatenate([one_hot(BATCH["y"]), one_hot(KNOWN["labels"][U]) * SURE[U, None]])
UNMIXED = 1e-3  # lambda is 0 or 1: the batch as it is, or the batch in another order


@pytest.mark.parametrize("key", [0, 1, 2])
def test_hardly_mixed_every_image_has_the_graph_s_label_and_certainty_in_whatever_order(key):
    found, logs, memory = run(LaplaceNet(mixing=UNMIXED), memory=KNOWN, key=key)
    expected = cross_entropy(IMAGES, TARGETS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert logs["ce"] == pytest.approx(expected[0], rel=1e-4)
    assert logs["accuracy"] == pytest.approx((predicted(IMAGES).argmax(1) == TARGETS.argmax(1)).mean())
    jax.tree.map(np.testing.assert_array_equal, memory, KNOWN)


def test_before_the_first_graph_labelled_images_alone_count():
    images = strong(np.concatenate([BATCH["x"], BATCH["x"][[0, 1, 2, 0, 1]]]))
    expected = cross_entropy(images, one_hot(BATCH["y"][[0, 1, 2, 0, 1, 2, 0, 1]]))
    found = run(LaplaceNet(mixing=UNMIXED))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    other = run(LaplaceNet(mixing=UNMIXED), batch=BATCH | {"x_u": 7 * BATCH["x_u"], "u": U[::-1]})[0]
    assert_close(other, found)


def noisy(x, key):
    return 3 * x + jax.random.uniform(key, x.shape, jnp.float32)


def numpy_copies(key, copies, alpha):
    """Each copy's images and targets, mixed by a loop with the lambda and the partners that the key stands for."""
    with jax.enable_x64(True):
        for of_copy in jax.random.split(key_of(key), copies):
            key_x, key_u, key_mix = jax.random.split(of_copy, 3)
            key_share, key_order = jax.random.split(key_mix)
            lam = float(quick(lambda k: jax.random.beta(k, alpha, alpha, (1,)), key_share)[0])
            order = np.asarray(jax.random.permutation(key_order, 8))
            x, x_u = (np.asarray(noisy(jnp.asarray(BATCH[n]), k)) for n, k in (("x", key_x), ("x_u", key_u)))
            images = np.concatenate([x, x_u])
            yield tuple(
                np.array([lam * values[i] + (1 - lam) * values[other] for i, other in enumerate(order)])
                for values in (images, TARGETS)
            )


def test_the_loss_is_the_mean_over_mixed_copies():
    mixed = list(numpy_copies(5, 2, 2.0))
    expected = sum(cross_entropy(images, targets) for images, targets in mixed) / 2
    method = LaplaceNet(mixing=2.0, copies=2)
    found, logs, _ = run(method, memory=KNOWN, key=5, strong=noisy, weak=lambda x, key: 0 * x)
    assert_close(found, expected)
    right = [(predicted(images).argmax(1) == targets.argmax(1)).mean() for images, targets in mixed]
    assert logs["accuracy"] == pytest.approx(np.mean(right))


def test_it_starts_with_no_label():
    memory = LaplaceNet().start(SIZES)
    assert memory["labels"].shape == memory["weights"].shape == (12,)
    assert not memory["weights"].any()
    np.testing.assert_array_equal(memory["shares"], np.float32(SIZES.shares))


def test_rounds_are_evenly_spaced_over_the_rest():
    assert LaplaceNet(first=0.25, graphs=3).rounds == pytest.approx((0.25, 0.5, 0.75))
    assert LaplaceNet(first=0.0, graphs=4).rounds == pytest.approx((0, 0.25, 0.5, 0.75))
    assert LaplaceNet(first=0.6, graphs=1).rounds == pytest.approx((0.6,))


def test_paper():
    """The repository's CIFAR-10 with 4,000 labels: batches of 300, 48 of them labelled, 250,000 steps, three copies.
    Ten epochs of ten passes, 13 whole batches each, see labelled images alone; then a graph every 182 steps."""
    paper = LaplaceNet.PAPER
    assert (paper["batch_size"], paper["unlabeled_batch_size"], paper["steps"]) == (48, 300 - 48, 250_000)
    assert (paper["strong"], paper["cutout"]) == ("rand_augment", 0.5)
    own = {name.removeprefix("laplacenet."): value for name, value in paper.items() if "." in name}
    assert own["first"] == pytest.approx(100 * (4000 // 300) / 250_000)
    assert own["graphs"] == (250_000 - 100 * (4000 // 300)) // (46_000 // 252)
    assert (own["power"], own["mixing"], own["copies"], own["sure"]) == (1.0, 1.0, 3, False)
    assert (LaplaceNet().neighbours, LaplaceNet().alpha) == (50, 0.99)
    steps = [round(share * 250_000) for share in LaplaceNet(first=own["first"], graphs=own["graphs"]).rounds]
    assert steps[0] == 1300
    assert set(np.diff(steps)) <= {182, 183}
