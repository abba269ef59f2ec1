"""The Inception network against its blocks written in NumPy, its resize against SciPy and torch-fidelity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy_layers import count, random_parameters
from scipy.ndimage import map_coordinates

from scoressl_jax.errors import UserError
from scoressl_jax.models.inception import MIXED, SIZE, Inception, Mixed, prepare, resize

SMALL = 75  # the smallest image that the network takes


@pytest.fixture(scope="module")
def params():
    """Random, at a scale that keeps activations near 1."""
    tree = random_parameters(Inception(), jax.ShapeDtypeStruct((1, SMALL, SMALL, 3), np.float32))
    return {"params": jax.tree.map(lambda leaf: (leaf * (0.1 if leaf.ndim == 1 else 1.4)).astype(np.float32), tree)}


@pytest.fixture(scope="module")
def images():
    """Noise over less and less of the range."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 20, 26, 3))
    return (noise // np.array([1, 2, 8])[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    """Compiled (params, images) -> (Features, outputs of every layer by name) at the smallest size."""

    @jax.jit
    def run(params, images):
        apply = Inception().apply
        return apply(params, prepare(images, SMALL), capture_intermediates=True, mutable="intermediates")

    return run


# The whole network


def test_it_has_the_published_number_of_parameters():
    # Keras publishes 23,817,352 trainable ones for Inception-v3 with shifts beta and 1,000 outputs with a bias.
    published = 23_817_352 - 1000 * 2049 + 1008 * 2048
    assert count(Inception(), (1, SMALL, SMALL, 3)) == published


def test_the_shapes_are_those_of_the_graph():
    def run(key, x):
        return Inception().init_with_output(key, x, capture_intermediates=True, mutable=["params", "intermediates"])

    image = jax.ShapeDtypeStruct((2, SIZE, SIZE, 3), np.float32)
    features, variables = jax.eval_shape(run, jax.random.key(0), image)
    assert [leaf.shape for leaf in features] == [(2, 2048), (2, 1008), (2, 2023)]
    size = lambda name: variables["intermediates"][name]["__call__"][0].shape[2:]  # noqa: E731
    stem = [size(f"Conv2d_{name}") for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    assert stem == [(149, 32), (147, 32), (147, 64), (73, 80), (71, 192)]
    sizes = [size(name) for name in MIXED]
    assert sizes == [(35, 256), (35, 288), (35, 288)] + [(17, 768)] * 5 + [(8, 1280), (8, 2048), (8, 2048)]


def test_an_image_has_features_of_its_own(network, params, images):
    (pool, logits, spatial), _ = network(params, images)
    assert (pool.shape, logits.shape, spatial.shape) == ((3, 2048), (3, 1008), (3, 7 * 3 * 3))
    again, _ = network(params, images)
    for first, second in zip((pool, logits, spatial), again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert np.linalg.norm(pool[0] - pool[1]) > 0.01 * np.linalg.norm(pool[0])
    swapped, _ = network(params, images[[1, 0, 2]])
    np.testing.assert_allclose(swapped.pool[0], pool[1], rtol=1e-4, atol=1e-5)


def test_the_outputs_come_from_the_layers_that_metrics_name(network, params, images):
    features, state = network(params, images)
    layers = state["intermediates"]
    last = np.asarray(layers["Mixed_7c"]["__call__"][0], np.float64)
    np.testing.assert_allclose(features.pool, last.mean((1, 2)), rtol=1e-5)
    fc = params["params"]["fc"]
    assert set(fc) == {"kernel"}
    np.testing.assert_allclose(features.logits, last.mean((1, 2)) @ fc["kernel"], rtol=1e-4, atol=1e-4)
    first_branch = params["params"]["Mixed_6d"]["branch1x1"]
    spatial = convolve(first_branch, np.asarray(layers["Mixed_6c"]["__call__"][0]))[..., :7]
    np.testing.assert_allclose(features.spatial, spatial.reshape(3, -1), rtol=1e-4, atol=1e-4)


# Blocks, with zeros around the image where a convolution keeps its size


def windows(x, height, width, pad, value):
    """`[B, H, W, C, height, width]`; pad keeps the size, else windows lie inside and are two apart."""
    if pad:
        x = np.pad(x, ((0, 0), (height // 2,) * 2, (width // 2,) * 2, (0, 0)), constant_values=value)
    found = sliding_window_view(x, (height, width), (1, 2))
    return found if pad else found[:, ::2, ::2]


def convolve(p, x, halve=False):
    kernel = np.asarray(p["kernel"], np.float64)
    found = windows(x.astype(np.float64), *kernel.shape[:2], not halve, 0.0)
    return np.maximum(np.einsum("bhwcij,ijco->bhwo", found, kernel, optimize=True) + p["bias"], 0)


def average(x):
    return np.nanmean(windows(x, 3, 3, True, np.nan), (-2, -1))


def maximum(x, halve=False):
    return windows(x, 3, 3, not halve, -np.inf).max((-2, -1))


def chain(p, x, *names, halve=False):
    for name in names:
        x = convolve(p[name], x, halve and name == names[-1])
    return x


def block_35(p, x):
    yield chain(p, x, "branch1x1")
    yield chain(p, x, "branch5x5_1", "branch5x5_2")
    yield chain(p, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
    yield chain(p, average(x), "branch_pool")


def block_35_to_17(p, x):
    yield chain(p, x, "branch3x3", halve=True)
    yield chain(p, x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", halve=True)
    yield maximum(x, halve=True)


def block_17(p, x):
    yield chain(p, x, "branch1x1")
    yield chain(p, x, "branch7x7_1", "branch7x7_2", "branch7x7_3")
    yield chain(p, x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)))
    yield chain(p, average(x), "branch_pool")


def block_17_to_8(p, x):
    yield chain(p, x, "branch3x3_1", "branch3x3_2", halve=True)
    yield chain(p, x, "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4", halve=True)
    yield maximum(x, halve=True)


def block_8(p, x, pool=average):
    yield chain(p, x, "branch1x1")
    for last in "ab":
        yield chain(p, x, "branch3x3_1", f"branch3x3_2{last}")
    for last in "ab":
        yield chain(p, x, "branch3x3dbl_1", "branch3x3dbl_2", f"branch3x3dbl_3{last}")
    yield chain(p, pool(x), "branch_pool")


def last_block(p, x):
    return block_8(p, x, pool=maximum)


@pytest.mark.parametrize(
    ("name", "inputs", "reference"),
    [
        ("Mixed_5b", 192, block_35),
        ("Mixed_6a", 288, block_35_to_17),
        ("Mixed_6b", 768, block_17),
        ("Mixed_7a", 768, block_17_to_8),
        ("Mixed_7b", 1280, block_8),
        ("Mixed_7c", 2048, last_block),
    ],
)
def test_a_block_is_what_numpy_has(name, inputs, reference, params):
    p = params["params"][name]
    x = np.random.default_rng(1).normal(size=(2, 5, 6, inputs)).astype(np.float32)
    found = jax.jit(Mixed(MIXED[name]).apply)({"params": p}, x)
    expected = np.concatenate(list(reference(p, x)), -1)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


# What images become before the network


@pytest.mark.parametrize("shape", [(32, 32), (8, 8), (20, 31), (400, 310), (SIZE, SIZE)])
def test_resize_is_linear_interpolation_at_the_left_upper_corners(shape):
    image = np.random.default_rng(2).uniform(0, 255, shape)
    at = np.meshgrid(*(np.arange(SIZE) * (length / SIZE) for length in shape), indexing="ij")
    expected = map_coordinates(image, at, order=1, mode="nearest")
    found = resize(image.astype(np.float32)[None, :, :, None], SIZE)[0, :, :, 0]
    np.testing.assert_allclose(found, expected, atol=0.01)  # positions are float32, as in the graph


@pytest.mark.parametrize("shape", [(32, 32), (28, 20), (400, 310)])
def test_resize_is_torch_fidelitys_of_tensorflow_1(shape):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install -e '.[torch]'")
    reference = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow", reason="the reference")
    images = np.random.default_rng(3).integers(0, 256, (2, *shape, 3)).astype(np.float32)
    theirs = reference.interpolate_bilinear_2d_like_tensorflow1x(
        torch.tensor(images).permute(0, 3, 1, 2), (SIZE, SIZE), align_corners=False
    )
    np.testing.assert_array_equal(resize(images, SIZE), theirs.permute(0, 2, 3, 1).numpy())


def test_prepare_scales_and_repeats_grey(images):
    levels = np.array([0, 64, 128, 255], np.uint8)
    prepared = prepare(np.broadcast_to(levels[:, None, None, None], (4, 8, 8, 1)), SMALL)
    assert (prepared.shape, prepared.dtype) == ((4, SMALL, SMALL, 3), jnp.float32)
    np.testing.assert_array_equal(prepared.min((1, 2, 3)), [-1, -0.5, 0, 127 / 128])
    np.testing.assert_array_equal(prepared.max((1, 2, 3)), [-1, -0.5, 0, 127 / 128])
    grey = images[..., :1]
    np.testing.assert_array_equal(prepare(grey, SMALL), prepare(np.repeat(grey, 3, axis=-1), SMALL))
    np.testing.assert_array_equal(prepare(images, SMALL), prepare(images.astype(np.float32), SMALL))


@pytest.mark.parametrize("shape", [(4, 8, 8), (8, 8, 3), (4, 8, 8, 2), (4, 8, 8, 4)])
def test_images_of_other_shapes_are_refused(shape):
    with pytest.raises(UserError, match=rf"^images are \[N, {', '.join(map(str, shape[1:]))}\]: .* 1 or 3\]$"):
        prepare(np.zeros(shape, np.uint8))
