import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scoressl_jax.devices import device_mesh
from scoressl_jax.models.layers import FourierEmbedding
from scoressl_jax.training.state import init_state, make_optimizer
from scoressl_jax.training.step import batch_indices, grads_of_runs, make_multi_update, make_update

POOL = np.asarray([3, 5, 8, 13, 21, 34, 55])


# Which images a step sees


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 20])
def test_every_epoch_visits_each_image_once(batch):
    steps = -(-5 * len(POOL) // batch)
    flat = batch_indices(POOL, batch, 0, 0, 0, steps).ravel()
    epochs = flat[: 5 * len(POOL)].reshape(5, len(POOL))
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(POOL, (5, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 5  # each in an order of its own


def test_indices_have_one_row_a_step():
    found = batch_indices(POOL, 4, 0, 0, 2, 3)
    assert found.shape == (3, 4)
    assert found.dtype == np.int32
    assert batch_indices(POOL, 4, 0, 0, 2, 0).shape == (0, 4)


def test_indices_do_not_depend_on_how_steps_are_called():
    whole = batch_indices(POOL, 3, 1, 2, 0, 20)
    parts = [batch_indices(POOL, 3, 1, 2, start, steps) for start, steps in ((0, 1), (1, 7), (8, 2), (10, 10))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(batch_indices(POOL, 3, 1, 2, 0, 20), whole)
    np.testing.assert_array_equal(batch_indices(POOL, 3, 1, 2, 17, 1), whole[17:18])


def test_seeds_and_streams_have_orders_of_their_own():
    orders = [batch_indices(np.arange(50), 50, seed, stream, 0, 1)[0] for seed in (0, 1) for stream in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_orders_are_uniform():
    """First image of an epoch, over seeds: each of four equally often."""
    first = [batch_indices(np.arange(4), 4, seed, 0, 0, 1)[0, 0] for seed in range(800)]
    assert np.abs(np.bincount(first, minlength=4) - 200).max() < 55


# One update, against AdamW written down in NumPy

RATE, DECAY, WARMUP, CLIP, STEPS, EMA = 0.1, 0.03, 4, 1.0, 12, 0.5
TARGETS = np.asarray([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.2], [4.0, 4.0]])


def loss_fn(params, frozen, batch, key):
    del key
    error = params["w"] - batch + frozen
    return (error**2).sum(-1).mean(), {"worst": jnp.abs(error).max()}


def make_batch(arrays, indices, key):
    del key
    return arrays[indices]


def numpy_rate(count, schedule):
    value = RATE * min((count + 1) / WARMUP, 1.0)
    return value * (0.5 * (1 + np.cos(np.pi * min(count / STEPS, 1.0))) if schedule == "cosine" else 1.0)


def numpy_training(indices, schedule):
    """The path of (w, EMA, loss, gradient norm)."""
    w, ema, m, v = np.asarray([0.3, -0.7]), np.asarray([0.3, -0.7]), 0.0, 0.0
    for n, rows in enumerate(indices):
        error = w - TARGETS[rows] + 0.25
        g = 2 * error.mean(0)
        norm = np.linalg.norm(g)
        clipped = g * min(1.0, CLIP / norm)
        m, v = 0.9 * m + 0.1 * clipped, 0.999 * v + 0.001 * clipped**2
        step = (m / (1 - 0.9 ** (n + 1))) / (np.sqrt(v / (1 - 0.999 ** (n + 1))) + 1e-8)
        w = w - numpy_rate(n, schedule) * (step + DECAY * w)
        decay = min(EMA, (1 + n) / (10 + n))
        ema = decay * ema + (1 - decay) * w
        yield w, ema, (error**2).sum(-1).mean(), norm, np.abs(error).max()


def optimizer_of(schedule="constant"):
    return make_optimizer(
        learning_rate=RATE, weight_decay=DECAY, warmup=WARMUP, clip=CLIP, schedule=schedule, steps=STEPS
    )


def make_run(schedule="constant", loss_fn=loss_fn, make_batch=make_batch):
    optimizer = optimizer_of(schedule)
    update = make_update(loss_fn, make_batch, optimizer, EMA)
    return update, init_state({"w": jnp.asarray([0.3, -0.7])}, optimizer)


def indices_of(steps):
    return np.random.default_rng(0).integers(0, 4, (steps, 3))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_updates_are_clipped_adamw_with_a_warmed_up_average(schedule):
    update, state = make_run(schedule)
    update = jax.jit(update)
    norms = []
    for rows, expected in zip(indices_of(15), numpy_training(indices_of(15), schedule), strict=True):
        state, logs = update(state, TARGETS, 0.25, rows, jax.random.key(0))
        w, ema, loss, norm, worst = expected
        np.testing.assert_allclose(state.params["w"], w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.ema_params["w"], ema, rtol=1e-4, atol=1e-5)
        found = [logs[name] for name in ("loss", "grad_norm", "worst", "param_norm")]
        np.testing.assert_allclose(found, [loss, norm, worst, np.linalg.norm(w)], rtol=1e-4)
        norms.append(norm)
    assert state.step == 15
    assert max(norms) > CLIP  # clipping acted


def test_average_starts_with_little_memory():
    """Weights 0.1, 2/11, 3/12, ... of the past, then the configured decay."""
    update = jax.jit(make_update(lambda p, *_: (-p["w"].sum(), {}), lambda *_: None, optax.sgd(1.0), 0.3))
    state = init_state({"w": jnp.zeros(1)}, optax.sgd(1.0))
    averages = []
    for _ in range(5):
        state, _ = update(state, 0, 0, 0, jax.random.key(0))
        averages.append(float(state.ema_params["w"][0]))
    expected, ema = [], 0.0
    for w, decay in zip((1, 2, 3, 4, 5), (1 / 10, 2 / 11, 3 / 12, 0.3, 0.3), strict=True):
        ema = decay * ema + (1 - decay) * w
        expected.append(ema)
    np.testing.assert_allclose(averages, expected, rtol=1e-5)


def test_noise_of_a_step_follows_from_its_number():
    def noisy_loss(params, frozen, batch, key):
        return params["w"].sum() * 0.0, {"loss_noise": jax.random.normal(key), "batch_noise": batch}

    update, state = make_run(loss_fn=noisy_loss, make_batch=lambda arrays, indices, key: jax.random.normal(key))
    update = jax.jit(update)

    def draw(step, seed):
        logs = update(state.replace(step=jnp.int32(step)), 0, 0, 0, jax.random.key(seed))[1]
        return float(logs["loss_noise"]), float(logs["batch_noise"])

    assert draw(3, 0) == draw(3, 0)
    values = [value for step in (0, 1) for seed in (0, 1) for value in draw(step, seed)]
    assert len(set(values)) == 8


def test_frequencies_of_noise_embeddings_stay_as_drawn():
    """They get no gradient, and weight decay must not shrink them either, while it does shrink other weights."""
    layer, x = FourierEmbedding(3), jnp.ones(2)
    params = {"embedding": {"W": jnp.asarray([5.0, -9.0, 16.0])}, "kernel": jnp.ones((6, 1))}

    def loss_fn(params, *_):
        h = layer.apply({"params": params["embedding"]}, x) @ jax.lax.stop_gradient(params["kernel"])
        return (h**2).sum(), {}

    optimizer = make_optimizer(
        learning_rate=0.1, weight_decay=0.5, warmup=1, clip=1.0, schedule="constant", steps=10
    )
    update = make_update(loss_fn, lambda *_: None, optimizer, 0.9)
    state, _ = jax.jit(update)(init_state(params, optimizer), 0, 0, 0, jax.random.key(0))
    np.testing.assert_array_equal(state.params["embedding"]["W"], params["embedding"]["W"])
    np.testing.assert_allclose(state.params["kernel"], 1 - 0.1 * 0.5, rtol=1e-6)


# Many updates in a call


def test_many_updates_are_single_updates():
    update, state = make_run()
    multi = make_multi_update(update, device_mesh())
    expected = list(numpy_training(indices_of(6), "constant"))

    state, logs = multi(state, TARGETS, 0.25, indices_of(6), 4, jax.random.key(0))
    assert state.step == 4
    np.testing.assert_allclose(state.params["w"], expected[3][0], rtol=1e-4)
    np.testing.assert_allclose(logs["loss"][:4], [row[2] for row in expected[:4]], rtol=1e-4)
    np.testing.assert_array_equal(logs["loss"][4:], 0)

    state, logs = multi(state, TARGETS, 0.25, np.roll(indices_of(6), -4, axis=0), 2, jax.random.key(0))
    assert state.step == 6
    np.testing.assert_allclose(state.params["w"], expected[5][0], rtol=1e-4)
    np.testing.assert_allclose(state.ema_params["w"], expected[5][1], rtol=1e-4)


def test_a_state_starts_with_its_own_average():
    optimizer = optimizer_of()
    state = init_state({"w": jnp.ones(2)}, optimizer)
    assert state.step == state.attempt == 0
    np.testing.assert_array_equal(state.ema_params["w"], 1)
    assert state.ema_params["w"] is not state.params["w"]  # params are donated, the average must outlive them


@pytest.mark.parametrize("runs", [1, 2])
def test_runs_side_by_side_are_runs_alone(runs):
    """Each run of a step is what it would be alone, with its own batch and noise."""

    def loss_fn(params, frozen, batch, key):
        noise = jax.random.normal(key, batch["x"].shape)
        loss = ((params["w"] * batch["x"] - frozen + noise) ** 2).mean()
        return loss, {"mean": batch["x"].mean()}

    optimizer = optax.adam(0.1)
    params = {"w": jnp.asarray([[1.0, 2.0], [3.0, -1.0]])[:runs]}
    batch = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(runs, 5, 2)), jnp.float32)}
    update = make_update(loss_fn, lambda arrays, *_: arrays, optimizer, 0.5, grads_of_runs)
    key = jax.random.key(3)
    state, logs = jax.jit(update)(init_state(params, optimizer), batch, 0.5, None, key)
    key_loss = jax.random.split(jax.random.fold_in(key, 0))[1]
    for run in range(runs):
        alone = {"w": params["w"][run]}
        (loss, _), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            alone, 0.5, {"x": batch["x"][run]}, jax.random.fold_in(key_loss, run)
        )
        changes, _ = optimizer.update(grads, optimizer.init(alone), alone)
        np.testing.assert_allclose(state.params["w"][run], alone["w"] + changes["w"], rtol=1e-5)
        assert float(logs[f"loss_{run}"]) == pytest.approx(float(loss), rel=1e-5)
        assert float(logs[f"mean_{run}"]) == pytest.approx(float(batch["x"][run].mean()), rel=1e-5)
    assert float(logs["loss"]) == pytest.approx(sum(float(logs[f"loss_{run}"]) for run in range(runs)), rel=1e-6)
