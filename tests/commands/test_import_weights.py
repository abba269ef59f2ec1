"""scoressl import: which process and flags a network's weights make, and Inception's file (runs: tests/weights)."""

import argparse

import numpy as np
import pytest

from scoressl_jax.commands.import_weights import HINTS, config_of, flags
from scoressl_jax.errors import UserError
from scoressl_jax.weights.fit import Weights
from scoressl_jax.weights.inception import layout

NETWORK = {"width": 8, "multipliers": (1, 2), "blocks": 2, "embedding": 8}


def made(scalings, sde=None, noise=None, attention=(8,), image_size=16, **fields):
    """({field: value} of the flags that take weights with these scalings)."""
    weights = Weights({}, {}, 600, scalings, NETWORK | fields, noise)
    options = argparse.Namespace(file="file", attention=attention, image_size=image_size, sde=sde, sigma_max=50.0)
    config = config_of(weights, options)
    assert config.score.steps == 600
    return dict(flags(config, "there"))


def test_a_positional_embedding_is_of_vp():
    found = made(("time", "index"), fir=False, pyramid="none")
    assert (found["sde.name"], found["score.scaling"]) == ("vp", "time")
    assert not {"sde.sigma_min", "sde.sigma_max"} & set(found)  # which vp does not read
    assert (found["score.init_from"], found["score.fir"], found["score.pyramid"]) == ("run:there", False, "none")


def test_the_process_that_is_said():
    assert made(("time", "index"), sde="subvp")["sde.name"] == "subvp"
    found = made(("time", "index"), sde="ve", noise=(0.02, 30.0))
    assert (found["sde.name"], found["score.scaling"]) == ("ve", "index")
    assert (found["sde.sigma_min"], found["sde.sigma_max"]) == (0.02, 30.0)


def test_a_fourier_embedding_is_of_ve():
    found = made(("sigma",))
    assert (found["sde.name"], found["score.scaling"], found["score.attention"]) == ("ve", "sigma", "'(8,)'")
    assert (found["sde.sigma_min"], found["sde.sigma_max"]) == (0.01, 50.0)


def test_attention_is_at_heights_that_there_are():
    """The guess, 16, stands for nothing where images of that size make no such level; what is said must be one."""
    assert made(("sigma",), image_size=28, attention=HINTS["attention"])["score.attention"] == "'()'"
    assert made(("sigma",), image_size=28, attention=[14])["score.attention"] == "'(14,)'"
    assert made(("sigma",), image_size=32, attention=HINTS["attention"])["score.attention"] == "'(16,)'"
    with pytest.raises(UserError, match="--attention 16: images of --image-size=28 make levels of 28, 14 pixels"):
        made(("sigma",), image_size=28, attention=[16])


def test_inceptions_weights_become_an_npz(scoressl, tmp_path):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in layout().items()}
    arrays["fc.bias"][3] = 7.0
    np.savez(tmp_path / "weights.npz", **arrays)
    out = tmp_path / "deep" / "again.npz"
    code, said, errors = scoressl("import", tmp_path / "weights.npz", f"--to={out}")
    assert (code, errors) == (0, [])
    assert said == f"{out}: {len(arrays)} arrays of the Inception of FID, to be read without PyTorch\n"
    with np.load(out) as found:
        assert set(found) == set(arrays)
        assert found["fc.bias"][3] == 7.0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["pt_inception.pth", "--to=run"], "--to=run must end in .npz"),
        (["weights.npz", "--to=run"], "--to=run must end in .npz"),
        (["pt_inception.pth", "--to=x.npz", "--sde=ve", "--image-size=32"], "--image-size, --sde: for checkpoints of"),
        (["checkpoint", "--to=run", "--image-size=0"], "'0' is no whole number"),
    ],
)
def test_flags_that_do_not_fit(argv, words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused("import", *argv)
    assert not list(tmp_path.iterdir())
