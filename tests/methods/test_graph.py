"""Label propagation against scikit-learn's neighbours, dense linear algebra and loops."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from scoressl_jax.methods.graph import certainty, class_mass, conjugate_gradients, graph, neighbours, propagate

rng = np.random.default_rng(0)
CENTRES = rng.normal(size=(3, 6))
Y = rng.integers(0, 3, 90)
FEATURES = (CENTRES[Y] + 0.5 * rng.normal(size=(90, 6))) * rng.uniform(0.1, 10, (90, 1))
LABELED = np.array([list(Y).index(c) for c in range(3)])


@pytest.mark.parametrize(
    ("count", "k", "block"), [(90, 7, 256), (90, 7, 16), (90, 50, 40), (700, 12, 100), (40, 50, 7)]
)
def test_neighbours_are_scikit_learns_and_never_oneself(count, k, block):
    features = np.random.default_rng(count).normal(size=(count, 6))
    indices, similarities = neighbours(features, k, block)
    expected = min(k, count - 1)
    distances, at = (
        NearestNeighbors(n_neighbors=expected, metric="cosine", algorithm="brute").fit(features).kneighbors()
    )
    assert (indices.dtype, similarities.dtype) == (np.int32, np.float32)
    np.testing.assert_allclose(similarities, 1 - distances, atol=1e-5)
    assert (indices == at).mean() > 0.99, "but for ties in single precision"
    assert not (indices == np.arange(count)[:, None]).any()


def test_twins_are_neighbours_and_images_of_nothing_are_no_ones():
    features = np.concatenate([FEATURES[:20], FEATURES[:1], FEATURES[:1], np.zeros((1, 6))])
    indices, similarities = neighbours(features, 2)
    assert set(indices[0]) == {20, 21}
    assert set(indices[20]) == {0, 21}
    np.testing.assert_allclose(similarities[[0, 20]], 1, atol=1e-5)
    np.testing.assert_array_equal(similarities[22], 0)


def dense_graph(indices, similarities, power):
    n = len(indices)
    w = np.zeros((n, n))
    for i in range(n):
        for j, s in zip(indices[i], similarities[i], strict=True):
            if i != j:
                w[i, j] = max(w[i, j], max(s, 0) ** power)
                w[j, i] = max(w[j, i], max(s, 0) ** power)
    degree = w.sum(1)
    degree[degree == 0] = 1
    return w / np.sqrt(np.outer(degree, degree))


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_the_graph_is_the_dense_one(power):
    indices, similarities = neighbours(FEATURES, 5)
    similarities = similarities.copy()
    similarities[7], similarities[:, -1] = -0.3, -0.1
    indices[11, 2] = 11
    found = graph(indices, similarities, power)
    assert found.nnz < 90 * 12
    np.testing.assert_allclose(found.toarray(), dense_graph(indices, similarities, power), atol=1e-12)
    assert abs(found - found.T).max() < 1e-12
    assert not found.diagonal().any()


def test_an_image_without_neighbours_stays_alone():
    indices, similarities = np.array([[1], [0], [0], [2]]), np.array([[0.5], [0.5], [0.0], [-0.2]])
    found = graph(indices, similarities).toarray()
    np.testing.assert_allclose(found, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-12)
    z = propagate(graph(indices, similarities), [1, 0, 0, 0], [0], 2)
    np.testing.assert_allclose(z, [[0, 1], [0, 1], [0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("alpha", [0.99, 0.5])
def test_propagation_is_the_dense_solution(alpha):
    weights = graph(*neighbours(FEATURES, 5))
    known = np.zeros((90, 3))
    known[LABELED, Y[LABELED]] = 1
    expected = np.maximum(np.linalg.solve(np.eye(90) - alpha * weights.toarray(), known), 0)
    expected /= expected.sum(1, keepdims=True)
    expected[LABELED] = known[LABELED]
    hidden = np.full(90, -1)
    hidden[LABELED] = Y[LABELED]
    mask = np.isin(np.arange(90), LABELED)
    for labeled in (LABELED, mask):
        z = propagate(weights, hidden, labeled, 3, alpha, steps=200, tolerance=1e-9)
        np.testing.assert_allclose(z, expected, atol=1e-6)
    np.testing.assert_array_equal(
        z, propagate(weights, np.where(mask, Y, 2), mask, 3, alpha, 200, 1e-9), "others unread"
    )
    rough = propagate(weights, hidden, LABELED, 3, alpha)
    assert (rough.argmax(1) == expected.argmax(1)).mean() > 0.95
    assert (rough.argmax(1) == Y).mean() > 0.9


def test_a_class_without_labels_gets_nothing():
    z = propagate(graph(*neighbours(FEATURES, 5)), Y, LABELED, 5)
    np.testing.assert_allclose(z.sum(1), 1)
    assert not z[:, 3:].any()


def test_conjugate_gradients_need_as_many_steps_as_there_are_dimensions_and_stop_when_they_are_near():
    root = np.random.default_rng(1).normal(size=(6, 6))
    matrix, b = root @ root.T + np.eye(6), np.random.default_rng(2).normal(size=(6, 2)) * [1, 1000]
    calls = []

    def product(p):
        calls.append(p)
        return matrix @ p

    np.testing.assert_allclose(conjugate_gradients(product, b, 6, 0), np.linalg.solve(matrix, b), rtol=1e-6)
    assert len(calls) == 6
    z = conjugate_gradients(product, b, 50, 0.1)
    assert len(calls) - 6 < 6
    assert (np.linalg.norm(b - matrix @ z, axis=0) <= 0.1 * np.linalg.norm(b, axis=0)).all()
    calls.clear()
    two = conjugate_gradients(product, b, 2, 0)
    assert len(calls) == 2
    alone = conjugate_gradients(product, b[:, 1:], 2, 0)
    np.testing.assert_allclose(two[:, 1:], alone, rtol=1e-9)


def test_class_mass_by_a_loop_and_towards_the_prior():
    z = np.random.default_rng(3).dirichlet([4, 2, 1], 400)
    prior = np.array([0.2, 0.3, 0.5])
    expected = z.copy()
    for _ in range(7):
        counts = [sum(row.argmax() == c for row in expected) / 400 for c in range(3)]
        factors = [min(max(prior[c] / (counts[c] + 1e-7), 0.97), 1.03) for c in range(3)]
        expected = np.array([row * factors / (row * factors).sum() for row in expected])
    before = z.copy()
    np.testing.assert_allclose(class_mass(z, prior, 7, 0.03), expected, rtol=1e-9)
    np.testing.assert_array_equal(z, before)
    assert np.abs(np.bincount(class_mass(z, prior, 300).argmax(1), minlength=3) / 400 - prior).max() < 0.03
    assert np.abs(np.bincount(z.argmax(1), minlength=3) / 400 - prior).max() > 0.3
    np.testing.assert_array_equal(class_mass(z, prior, 0), z)
    one_hot = np.eye(3)[[0, 0, 1, 2]]
    np.testing.assert_allclose(class_mass(one_hot, prior), one_hot)


def test_certainty_is_one_less_the_share_of_the_greatest_entropy():
    z = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]])
    last = 1 + (0.7 * np.log(0.7) + 0.3 * np.log(0.1)) / np.log(4)
    np.testing.assert_allclose(certainty(z), [1, 0, 0.5, last], atol=1e-12)


def test_images_of_digits_follow_a_few_labels():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    labeled = np.concatenate([np.flatnonzero(y == c)[:3] for c in range(10)])
    z = propagate(graph(*neighbours(x, 10)), y, labeled, 10)
    rest = np.setdiff1d(np.arange(len(y)), labeled)
    assert (z.argmax(1) == y)[rest].mean() > 0.9
    assert (class_mass(z, np.full(10, 0.1)).argmax(1) == y)[rest].mean() > 0.9
    assert (
        certainty(z)[rest][(z.argmax(1) == y)[rest]].mean() > certainty(z)[rest][(z.argmax(1) != y)[rest]].mean() + 0.1
    )
