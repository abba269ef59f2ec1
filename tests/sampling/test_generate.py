from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.sampling.generate import Progress, generate, to_uint8

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


def run(count, batch, seed=3, stop=None, gain=1.0, first=0):
    conditions = {"labels": (np.arange(count) % 4).astype(np.int32)}
    return generate(
        lambda progress: sample,
        {"gain": jnp.asarray(gain)},
        conditions,
        batch=batch,
        seed=seed,
        stop=stop or Stop(),
        first=first,
    )


@pytest.fixture(scope="module")
def whole():
    return run(11, 11)


def test_conditions_reach_the_sampler(whole):
    assert whole.shape == (11, *SHAPE)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole[:, 0, 0, 0], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2])


@pytest.mark.parametrize("batch", [3, 4, 16])
def test_batch_size_does_not_matter(whole, batch):
    np.testing.assert_array_equal(run(11, batch), whole)


def test_fewer_images_are_the_first_ones(whole):
    np.testing.assert_array_equal(run(5, 3), whole[:5])


@pytest.mark.parametrize("batch", [1, 3, 4, 16])
@pytest.mark.parametrize("first", [1, 4, 5, 10])
def test_images_from_a_later_one_on_are_those_of_the_whole_draw(whole, first, batch):
    """So a run whose count is raised keeps its first images."""
    np.testing.assert_array_equal(run(11, batch, first=first), whole[first:], strict=True)


def test_images_before_the_first_are_not_drawn(capsys):
    drawn = []

    def told(progress):
        def sample_and_tell(parameters, keys, labels):
            jax.debug.callback(lambda labels: drawn.extend(labels.tolist()), labels)
            return sample(parameters, keys, labels)

        return sample_and_tell

    stop = Stop()
    conditions = {"labels": np.arange(11, dtype=np.int32)}
    generate(told, {"gain": jnp.asarray(1.0)}, conditions, batch=2, seed=0, stop=stop, first=7)
    assert stop.checks == 2
    jax.effects_barrier()
    assert sorted(drawn) == [7, 8, 9, 10]
    bar = [line for line in capsys.readouterr().out.split("\r") if line.strip()]
    assert "7/11" in bar[0]
    assert "11/11" in bar[-1]


def test_images_and_seeds_differ(whole):
    pixels = whole.reshape(11, -1)[:, 1:]
    assert len(np.unique(pixels, axis=0)) == 11
    assert (run(11, 11, seed=4).reshape(11, -1)[:, 1:] != pixels).any(1).all()


def test_parameters_are_used(whole):
    half = run(11, 11, gain=0.5).astype(int)
    assert half[:, 1].max() <= 128
    assert np.abs(2 * half[:, 1] - whole[:, 1]).max() <= 2


def test_a_stop_is_asked_for_before_each_batch():
    stop = Stop()
    run(11, 4, stop=stop)
    assert stop.checks == 3
    with pytest.raises(KeyboardInterrupt):
        run(11, 4, stop=Stop(after=1))


def test_progress_is_shown(capsys):
    run(5, 3, stop=SimpleNamespace(check=lambda: None))
    bar = [line for line in capsys.readouterr().out.split("\r") if line.strip()]
    assert "0/5" in bar[0]
    assert "compiling" in [line for line in bar if "0/5" in line][-1]
    assert "5/5" in bar[-1]
    assert "compiling" not in bar[-1]


def test_the_bar_moves_inside_a_batch(capsys):
    def told(progress):
        def sample_and_tell(parameters, keys, labels):
            def move(x, i):
                jax.debug.callback(progress, i + 1, 4)
                return x + 0.01, None

            return jax.lax.scan(move, sample(parameters, keys, labels), jnp.arange(4))[0]

        return sample_and_tell

    generate(told, {"gain": jnp.asarray(0.5)}, {"labels": np.zeros(11, np.int32)}, batch=8, seed=0, stop=Stop())
    assert "11/11" in capsys.readouterr().out
    progress = Progress(11)
    progress.begin(8, 8)  # the last batch counts for the three images that are left
    for done, n in ((1, 8), (2, 9), (3, 10), (4, 11), (2, 11)):
        progress.inside(done, 4)
        assert progress.bar.n == n


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_that_is_not_finite_is_an_error(value, first):
    def broken(parameters, keys, labels):
        return sample(parameters, keys, labels).at[:, 1, 1, 0].set(jnp.where(labels == 2, value, 0.0))

    conditions = {"labels": np.arange(4)}
    with pytest.raises(UserError, match=rf"image 2 is not finite \(1 of {4 - first}") as error:
        generate(
            lambda progress: broken, {"gain": jnp.ones(())}, conditions, batch=8, seed=0, stop=Stop(), first=first
        )
    assert "lower the scale" in str(error.value)


def test_bytes_are_clipped_and_rounded():
    x = jnp.asarray([-0.4, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.0, 7.0])
    np.testing.assert_array_equal(to_uint8(x), [0, 0, 0, 1, 254, 255, 255, 255])
