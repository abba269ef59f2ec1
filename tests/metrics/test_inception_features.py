"""Features of many images: those of the network, whatever the batches and devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.inception import inception_features
from scoressl_jax.models.inception import Inception, prepare

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 1, 2, 1)).repeat(8, 1).repeat(4, 2).astype(np.uint8)
PROGRAM = """
import sys
import numpy as np
from test_inception_features import IMAGES, inception_features, random_params
np.savez(sys.argv[1], **inception_features(random_params(), IMAGES, 1))
"""


def random_params():
    rng = np.random.default_rng(1)
    image = jax.ShapeDtypeStruct((1, 75, 75, 3), np.float32)
    shapes = jax.eval_shape(Inception().init, jax.random.key(0), image)
    scale = lambda shape: np.sqrt(2 / np.prod(shape[:-1])) if len(shape) > 1 else 0.1  # noqa: E731
    return jax.tree.map(lambda leaf: (rng.normal(size=leaf.shape) * scale(leaf.shape)).astype(np.float32), shapes)


def test_batches_are_padded_and_split_over_devices(compiled, tmp_path):
    """One image a batch becomes two for two devices, so the last of three is alone beside padding."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_COMPILATION_CACHE_DIR": compiled}
    path = tmp_path / "features.npz"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parent, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1].split("\r")[-1]
    assert "inception: 100%" in last
    assert "3/3" in last
    expected = jax.jit(lambda params, images: Inception().apply(params, prepare(images)))(random_params(), IMAGES)
    with np.load(path) as found:
        assert set(found) == {"pool", "logits", "spatial"}
        for name, values in zip(expected._fields, expected, strict=True):
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert np.linalg.norm(expected.pool[2] - expected.pool[1]) > 0.01 * np.linalg.norm(expected.pool[1])


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 8, 8), (2, 8, 8, 4)])
def test_other_images_are_refused(shape):
    with pytest.raises(UserError, match="images"):
        inception_features({}, np.zeros(shape, np.uint8))
