"""Which features a name stands for."""

import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.features import FEATURES, extractor

IMAGES = np.array([[[[0], [51]], [[255], [102]]]], np.uint8)


class FakeJudge:
    name = "a network trained on labels"

    def outputs(self, images, batch):
        return {"pool": images.reshape(len(images), -1), "logits": np.full((len(images), 2), batch)}


def test_pixels_are_flattened_to_unit_range():
    found = extractor("pixels", None, "", 8).outputs(IMAGES)
    np.testing.assert_allclose(found["pool"], [[0, 0.2, 1, 0.4]])
    assert list(found) == ["pool"]


def test_judge_says_who_it_is():
    found = extractor("judge", FakeJudge(), "", 8)
    assert found.name == "judge: a network trained on labels"
    assert found.outputs(IMAGES)["logits"].tolist() == [[8, 8]]


def test_none_and_a_judge_that_cannot_be_are_nothing():
    assert "none" in FEATURES
    assert extractor("none", FakeJudge(), "", 8) is None
    assert extractor("judge", None, "", 8) is None


def test_inception_without_its_file(tmp_path):
    with pytest.raises(UserError, match="nothing.npz"):
        extractor("inception", None, str(tmp_path / "nothing.npz"), 8)
