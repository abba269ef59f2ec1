"""Padded batches, shardings, and what preparing jax asks of cores and the environment; test_devices.py has runs."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from scoressl_jax.devices import (
    batched,
    by_image,
    device_mesh,
    padded,
    prepare_jax,
    replicated,
    usable_cores,
    whole_number,
)
from scoressl_jax.errors import UserError

rng = np.random.default_rng(0)


# Padded batches


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 4), (3, 4), (4, 4)])
def test_a_part_is_filled_up_with_its_last_entry(count, size):
    part = rng.integers(0, 256, (count, 2, 3)).astype(np.uint8)
    found = padded(part, size)
    assert (found.shape, found.dtype) == ((size, 2, 3), np.uint8)
    np.testing.assert_array_equal(found[:count], part)
    for entry in found[count:]:
        np.testing.assert_array_equal(entry, part[-1])


@pytest.mark.parametrize("count", [1, 4, 7, 8, 9])
def test_padded_batches_give_what_one_batch_gives(count):
    x, y = rng.normal(size=(count, 3)), rng.integers(0, 9, count)
    sizes = []

    def f(x, y):
        sizes.append((len(x), len(y)))
        return x.sum(1) * 10 + y

    np.testing.assert_allclose(batched(f, 4, x, y), x.sum(1) * 10 + y)
    assert set(sizes) == {(4, 4)}  # so that it compiles once
    assert len(sizes) == -(-count // 4)


def test_batches_keep_trailing_axes_and_dtypes():
    x = rng.integers(0, 100, (5, 2, 3)).astype(np.uint8)
    np.testing.assert_array_equal(batched(lambda x: 2 * x, 3, x), 2 * x, strict=True)


@pytest.mark.parametrize("count", [1, 3, 6, 7])
def test_a_tree_of_outputs_is_joined_leaf_by_leaf(count):
    x, y = rng.normal(size=(count, 2)).astype(np.float32), np.arange(count, dtype=np.int32)
    found = batched(lambda x, y: {"sums": (x.sum(1), y), "whole": x[:, None]}, 3, x, y)
    expected = {"sums": (x.sum(1), y), "whole": x[:, None]}
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), found, expected)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(("count", "told"), [(2, [2]), (4, [4]), (9, [4, 4, 1])])
def test_progress_is_told_the_entries_of_each_batch_without_its_padding(count, told):
    heard, done = [], []

    def f(x):
        assert len(done) == len(heard), "a batch is told when it is done, before the next begins"
        done.append(x)
        return x

    batched(f, 4, np.arange(count), progress=heard.append)
    assert heard == told


def test_a_compiled_function_compiles_once_for_all_batches():
    traces = []

    @jax.jit
    def f(x, y):
        traces.append(x.shape)
        return x @ y[0], y

    x, y = rng.normal(size=(11, 3)).astype(np.float32), rng.normal(size=(11, 3)).astype(np.float32)
    batched(f, 4, x, y)
    batched(f, 4, x[:2], y[:2])
    assert traces == [(4, 3)]


# The mesh


def test_the_mesh_has_every_device_on_one_axis():
    mesh = device_mesh()
    assert mesh.axis_names == ("data",)
    assert mesh.devices.tolist() == jax.devices()
    assert by_image(mesh).spec == PartitionSpec("data")
    assert replicated(mesh).is_fully_replicated
    x = jnp.arange(4.0 * mesh.size).reshape(-1, 2)
    split = jax.device_put(x, by_image(mesh))
    assert {shard.data.shape for shard in split.addressable_shards} == {(2, 2)}
    np.testing.assert_array_equal(split, x)


# Preparing jax


@pytest.mark.parametrize(
    ("batch_sizes", "cores", "devices"),
    [
        ((64, 16), 1, 1),
        ((64, 16), 2, 2),
        ((64, 16), 8, 8),
        ((64, 16), 12, 8),  # 9 to 12 do not divide, 8 divides both
        ((64, 16), 64, 16),
        ((6, 9), 8, 3),
        ((7,), 4, 1),
        ((7,), 8, 7),
        ((5, 7), 64, 1),
        ((), 4, 4),
    ],
)
def test_as_many_cores_are_used_as_divide_every_batch(batch_sizes, cores, devices):
    assert usable_cores(batch_sizes, cores) == devices


@pytest.mark.parametrize(("text", "least", "number"), [("1", 1, 1), ("0", 0, 0), ("12", 1, 12)])
def test_a_whole_number_of_the_environment(text, least, number, monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", text)
    assert whole_number("JAX_NUM_PROCESSES", least) == number


@pytest.mark.parametrize(
    ("text", "least"), [(None, 0), ("", 0), ("-1", 0), ("1.5", 0), ("two", 0), ("0", 1), (" 1", 0), ("1e3", 0)]
)
def test_what_is_no_whole_number_is_named_with_its_variable(text, least, monkeypatch):
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    if text is not None:
        monkeypatch.setenv("JAX_PROCESS_ID", text)
    with pytest.raises(UserError) as error:
        whole_number("JAX_PROCESS_ID", least)
    said = str(error.value)
    assert said.startswith(f"JAX_PROCESS_ID is {text or ''!r}: ")
    assert said.endswith(f"it must be a whole number of {least} or more")


@pytest.fixture
def asked(monkeypatch):
    """{name: value} of what prepare_jax sets."""
    told = {}
    monkeypatch.setattr("jax.config.update", told.__setitem__)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return told


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HOME": "{tmp}"}, "{tmp}/.cache/scoressl_jax/xla"),
        ({"HOME": "{tmp}", "XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/x/scoressl_jax/xla"),
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": "{tmp}/own"}, "{tmp}/own"),
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": "~/own"}, "{tmp}/own"),
        ({"HOME": "/proc/nowhere"}, None),
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": "/proc/nowhere"}, None),
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": ""}, None),
        ({"HOME": "{tmp}", "JAX_COMPILATION_CACHE_DIR": "gs://bucket/cache"}, "gs://bucket/cache"),
    ],
)
def test_compiled_programs_are_kept_where_there_is_a_place_for_them(env, folder, asked, monkeypatch, tmp_path):
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    prepare_jax()
    assert asked["jax_compilation_cache_dir"] == (folder and folder.format(tmp=tmp_path))


def test_without_a_home_nothing_is_kept_and_nothing_made(asked, monkeypatch, tmp_path):
    """As of a user whom the system does not know, in a container."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    prepare_jax()
    assert asked["jax_compilation_cache_dir"] is None
    assert not list(tmp_path.iterdir())


def test_a_run_computes_in_its_own_precision_and_compiled(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare_jax()
    assert asked["jax_enable_x64"] is False
    with jax.disable_jit(), pytest.raises(UserError, match="JAX_DISABLE_JIT is set, .*: unset it"):
        prepare_jax()


@pytest.mark.parametrize("platform", ["cuda", "tpu", "nonsense"])
def test_devices_that_are_not_there(platform):
    program = "from scoressl_jax.devices import use_cores; use_cores([4])"
    env = {**os.environ, "JAX_PLATFORMS": platform, "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        pytest.skip(f"there is a {platform}")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"scoressl_jax.errors.UserError: JAX_PLATFORMS is '{platform}', but there is no such device")
    assert last.endswith("unset it, set it to cpu, or install what it needs (extras gpu and tpu)")


IMPORTS = """
import os
import absl.logging
import jax
names = ("jax_compilation_cache_dir", "jax_num_cpu_devices", "jax_persistent_cache_min_compile_time_secs")
state = lambda: ([getattr(jax.config, name) for name in names], dict(os.environ), absl.logging.get_verbosity())
before = state()
import scoressl_jax.devices, scoressl_jax.sampling.generate, scoressl_jax.training.loop, scoressl_jax.metrics.inception
assert state() == before
"""


def test_importing_the_libraries_prepares_nothing():
    """Whoever uses them in a program of their own keeps jax as they set it."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", IMPORTS], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
