import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quickly_compiled_noise():
    """Threefry's other form has other values and compiles in half the time, which is most of a small sampler's."""
    with jax.threefry_partitionable(False):
        yield
