import numpy as np

from scoressl_jax.studies.moons.points import load_moons


def test_points_lie_on_two_half_circles():
    points, labels = load_moons()
    assert points.shape == (10_000, 2)
    assert (np.bincount(labels) == 5000).all()
    centre = 20 * np.asarray([[0, 0], [1, 0.5]]) - 20 * np.asarray([0.5, 0.25])
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-12)
    offset = points - centre[labels]
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 20, rtol=1e-12)
    assert (offset[labels == 0, 1] > -1e-9).all()
    assert (offset[labels == 1, 1] < 1e-9).all()
    np.testing.assert_allclose(points.min(0), (-30, -15), rtol=1e-6)
    np.testing.assert_allclose(points.max(0), (30, 15), rtol=1e-6)
