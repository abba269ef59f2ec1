from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.sampling.generate import generate, to_uint8

SHAPE = (2, 3, 1)


def sample(parameters, keys, labels):
    """Images that name their label in the first pixel and depend on their own key elsewhere."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, SHAPE))(keys)
    return (parameters["gain"] * noise).at[:, 0, 0, 0].set(labels / 255.0)


class Stop:
    def __init__(self, after=10**9):
        self.checks, self.after = 0, after

    def check(self):
        self.checks += 1
        if self.checks > self.after:
            raise KeyboardInterrupt


def run(count, batch, seed=3, stop=None, gain=1.0):
    return generate(sample, {"gain": jnp.asarray(gain)}, count, batch, 4, seed, stop or Stop())


@pytest.fixture(scope="module")
def whole():
    return run(11, 11)


def test_labels_go_round_the_classes_and_reach_the_sampler(whole):
    images, labels = whole
    assert images.shape == (11, *SHAPE)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2])
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


@pytest.mark.parametrize("batch", [3, 4, 16])
def test_batch_size_does_not_matter(whole, batch):
    for ours, theirs in zip(run(11, batch), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_fewer_images_are_the_first_ones(whole):
    images, labels = run(5, 3)
    np.testing.assert_array_equal(images, whole[0][:5])
    np.testing.assert_array_equal(labels, whole[1][:5])


def test_images_and_seeds_differ(whole):
    pixels = whole[0].reshape(11, -1)[:, 1:]
    assert len(np.unique(pixels, axis=0)) == 11
    assert (run(11, 11, seed=4)[0].reshape(11, -1)[:, 1:] != pixels).any(1).all()


def test_parameters_are_used(whole):
    half = run(11, 11, gain=0.5)[0].astype(int)
    assert half[:, 1].max() <= 128
    assert np.abs(2 * half[:, 1] - whole[0][:, 1]).max() <= 2


def test_a_stop_is_asked_for_before_each_batch():
    stop = Stop()
    run(11, 4, stop=stop)
    assert stop.checks == 3
    with pytest.raises(KeyboardInterrupt):
        run(11, 4, stop=Stop(after=1))


def test_progress_is_shown(capsys):
    run(5, 3, stop=SimpleNamespace(check=lambda: None))
    assert "5/5" in capsys.readouterr().out


def test_bytes_are_clipped_and_rounded():
    x = jnp.asarray([-0.4, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0, 7.0])
    np.testing.assert_array_equal(to_uint8(x), [0, 0, 0, 1, 254, 255, 255, 255])
