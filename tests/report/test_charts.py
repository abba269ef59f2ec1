"""Charts and grids of pictures: what is drawn where."""

import io

import numpy as np
import pytest
from PIL import Image

from scoressl_jax.report.charts import GAP, class_grid, smooth, stretched, tile_size


def test_grid_takes_colour_and_missing_classes():
    images, labels = np.full((3, 32, 24, 3), 200, np.uint8), np.array([0, 2, 2])
    grid = Image.open(io.BytesIO(class_grid(images, labels, ["a", "b", "c"], 10)))
    height, width = tile_size((32, 24, 3))
    assert grid.height == GAP + 2 * (height + GAP)
    assert grid.getpixel((grid.width - width, grid.height - height // 2)) == (200, 200, 200)


def test_constant_image_stretches_to_black():
    assert stretched(np.ones((2, 2, 1))).max() == 0
    assert stretched([[-1.0, 3.0]]).tolist() == [[0, 255]]


@pytest.mark.parametrize("count", [1, 5, 40, 3000])
def test_smoothing_keeps_length_and_constants(count):
    np.testing.assert_allclose(smooth(np.full(count, 3.0)), np.full(count, 3.0))
