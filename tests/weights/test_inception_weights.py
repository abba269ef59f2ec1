"""Weights of the FID Inception: our network computes what pytorch-fid's and torch-fidelity's do, and nothing else gets
in."""

import pickle
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from scoressl_jax.__main__ import main as scoressl
from scoressl_jax.errors import UserError
from scoressl_jax.models.inception import Inception, prepare
from scoressl_jax.weights.inception import fold, layout, read_inception

RELEASED = "pt_inception-2015-12-05-6726825d.pth"
REASON = "the network to compare with: pip install -e '.[torch]'"


def draw(name, shape, rng):
    """Random weights that keep activations near 1, with normalisation far from the identity."""
    leaf = name.rsplit(".", 1)[1]
    if leaf in ("running_mean", "bias"):
        return rng.normal(0, 0.3, shape).astype(np.float32)
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def random_file(shapes):
    """{name: array} of the shapes {name: shape}."""
    rng = np.random.default_rng(0)
    return {name: draw(name, shape, rng) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def arrays():
    return random_file(layout())


@pytest.fixture(scope="module")
def npz(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.npz"
    np.savez(path, **arrays)
    return path


# The file's arrays


def test_the_layout_is_the_released_files():
    wanted = layout()
    assert len(wanted) == 94 * 5 + 2  # 94 convolutions with 4 arrays of normalisation each, and the last layer's two
    assert wanted["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert wanted["Conv2d_4a_3x3.bn.running_var"] == (192,)
    assert wanted["Mixed_6a.branch3x3.bn.weight"] == (384,)
    assert wanted["Mixed_6e.branch7x7dbl_4.conv.weight"] == (192, 192, 7, 1)
    assert wanted["Mixed_7c.branch3x3dbl_3a.conv.weight"] == (384, 384, 1, 3)
    assert wanted["fc.weight"] == (1008, 2048)


def test_folding_is_convolution_then_normalisation(arrays):
    name = "Mixed_5b.branch1x1"
    x = np.random.default_rng(1).normal(size=(10, 192))
    gamma, beta, mean, var = (
        arrays[f"{name}.bn.{leaf}"].astype(np.float64) for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    convolved = x @ arrays[f"{name}.conv.weight"][:, :, 0, 0].T
    kernel, bias = fold(arrays, name)
    expected = (convolved - mean) / (var + 0.001) ** 0.5 * gamma + beta
    np.testing.assert_allclose(x @ kernel[0, 0] + bias, expected, rtol=1e-5, atol=1e-6)


def test_an_npz_becomes_the_networks_parameters_without_torch(npz, arrays, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    params = read_inception(npz)
    shapes = jax.eval_shape(Inception().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 75, 75, 3), np.float32))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    np.testing.assert_array_equal(params["params"]["fc"]["kernel"], arrays["fc.weight"].T)


def test_counts_of_batches_are_left(arrays, tmp_path):
    path = tmp_path / "counted.npz"
    np.savez(path, **arrays, **{"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)})
    read_inception(path)


# Files that are something else


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_inception(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "nowhere.npz")
    (tmp_path / "empty.npz").touch()
    assert "is empty" in refusal(tmp_path / "empty.npz")


@pytest.mark.parametrize("content", ["truncated", "text", "pickle", "one array"])
def test_a_damaged_npz_is_refused(content, npz, tmp_path):
    path = tmp_path / "damaged.npz"
    if content == "truncated":
        path.write_bytes(npz.read_bytes()[:1_000_000])
    elif content == "text":
        path.write_text("not an archive")
    elif content == "pickle":
        np.savez(path, weights=np.array({"fc.weight": 1}, object))
    else:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    message = refusal(path)
    assert "cannot be read as .npz" in message
    assert RELEASED in message
    assert "pytorch-fid" in message


def test_a_flipped_bit_is_found(npz, tmp_path):
    data = bytearray(npz.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.npz").write_bytes(data)
    assert "not whole" in refusal(tmp_path / "flipped.npz")


def test_differences_are_named_key_by_key(arrays, tmp_path):
    changed = {name: array for name, array in arrays.items() if name != "Mixed_7a.branch3x3_2.bn.bias"}
    changed |= {"fc.weight": np.zeros((1000, 2048), np.float32), "AuxLogits.conv0.conv.weight": np.zeros(1)}
    np.savez(tmp_path / "other.npz", **changed)
    message = refusal(tmp_path / "other.npz")
    assert "Mixed_7a.branch3x3_2.bn.bias is missing" in message
    assert "AuxLogits.conv0.conv.weight is not in the network" in message
    assert "fc.weight is [1000, 2048], the network's is [1008, 2048]" in message
    assert RELEASED in message


def test_many_differences_are_counted(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=np.zeros(3))
    message = refusal(tmp_path / "data.npz")
    assert f"and {94 * 5 + 2 + 1 - 4} more" in message
    assert len(message) < 600


def test_a_pth_without_torch_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / RELEASED).write_bytes(b"PK")
    message = refusal(tmp_path / RELEASED)
    assert "pip install" in message
    assert ".npz" in message


# PyTorch's files, and its networks


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason=REASON)


@pytest.fixture(scope="module")
def state_dict(torch):
    """Random weights for torchvision's own names and shapes, without counts of batches as in the released file."""
    models = pytest.importorskip("torchvision.models", reason=REASON)
    network = models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    shapes = {name: tuple(array.shape) for name, array in network.state_dict().items() if array.ndim}
    return {name: torch.tensor(array) for name, array in random_file(shapes).items()}


@pytest.fixture(scope="module")
def pth(torch, state_dict, tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / RELEASED
    torch.save(state_dict, path)
    return path


@pytest.fixture(scope="module")
def params(pth):
    return read_inception(pth)


@pytest.fixture(scope="module")
def images():
    """Uint8, with edges and flat places."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (2, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def ours(params, images):
    """(Features, {layer: output}) of the images; a convolution's output is that before ReLU."""

    @jax.jit
    def run(params, images):
        return Inception().apply(params, prepare(images), capture_intermediates=True, mutable="intermediates")

    features, state = run(params, images)
    layers = flatten_dict(state["intermediates"], sep=".")
    return features, {name.removesuffix(".__call__"): value for name, (value,) in layers.items()}


def assert_close(found, expected, name):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, name
    assert expected.std() > 0.01, f"{name} is nearly constant and would not tell"
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected), name


def nhwc(tensor):
    return tensor.detach().permute(0, 2, 3, 1).numpy() if tensor.ndim == 4 else tensor.detach().numpy()


def test_every_layer_is_pytorch_fids(ours, state_dict, images, torch, monkeypatch):
    theirs = pytest.importorskip("pytorch_fid.inception", reason=REASON)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: state_dict)
    network, outputs = theirs.fid_inception_v3().eval(), {}
    for name, module in network.named_modules():
        # The ReLU after a normalisation works in place.
        keep = lambda _, __, output, name=name: outputs.update({name: output.clone()})  # noqa: E731
        if name.endswith(".bn") or name.startswith("Mixed") and "." not in name:
            module.register_forward_hook(keep)
    with torch.no_grad():
        logits = network(torch.tensor(np.array(prepare(images))).permute(0, 3, 1, 2)) - state_dict["fc.bias"]
    features, layers = ours
    assert len(outputs) == 94 + 11
    for name, expected in outputs.items():
        assert_close(layers[name.removesuffix(".bn")], nhwc(expected), name)
    assert_close(features.logits, nhwc(logits), "logits")
    spatial = np.maximum(nhwc(outputs["Mixed_6d.branch1x1.bn"]), 0)[..., :7]
    assert_close(features.spatial, spatial.reshape(2, 2023), "spatial")


def test_features_of_images_are_torch_fidelitys(ours, pth, images, torch):
    theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason=REASON)
    extractor = theirs.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(pth))
    pool, logits = extractor(torch.tensor(images).permute(0, 3, 1, 2))
    assert_close(ours[0].pool, nhwc(pool), "pool")
    assert_close(ours[0].logits, nhwc(logits), "logits")


def test_the_npz_made_of_a_pth_holds_the_same(torch, state_dict, tmp_path, capsys):
    few = {name: a if a.numel() < 10_000 else torch.zeros_like(a) for name, a in state_dict.items()}  # packed fast
    pth, npz = tmp_path / RELEASED, tmp_path / "weights.npz"
    torch.save(few, pth)
    assert scoressl(["import", str(pth), f"--to={npz}"]) == 0
    assert capsys.readouterr().out.startswith(f"{npz}: 472 arrays")
    jax.tree.map(np.testing.assert_array_equal, read_inception(npz), read_inception(pth))
    with np.load(npz) as file:
        assert all(np.array_equal(file[name], array.numpy()) for name, array in few.items())


def test_a_file_of_pytorch_before_1_6_is_read(torch, state_dict, params, tmp_path):
    torch.save(state_dict, tmp_path / RELEASED, _use_new_zipfile_serialization=False)
    jax.tree.map(np.testing.assert_array_equal, read_inception(tmp_path / RELEASED), params)


def test_other_files_of_pytorch_are_refused(torch, pth, state_dict, tmp_path):
    path = tmp_path / "other.pth"
    path.write_bytes(pth.read_bytes()[:1_000_000])
    assert "not whole" in refusal(path)
    path.write_bytes(b"no file of PyTorch")
    assert RELEASED in refusal(path)
    for content in (3, [torch.zeros(2)], {"model": state_dict["fc.bias"], "epoch": 3}):
        torch.save(content, path)
        assert "holds no dict of arrays" in refusal(path)
    torch.save({"model": torch.zeros(2)}, path)
    assert "model is not in the network" in refusal(path)


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_a_pth_never_executes_code(torch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Payload()}, tmp_path / "bad.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Payload(), 2))
    for name in ("bad.pth", "raw.pth"):
        assert "cannot be read" in refusal(tmp_path / name)
    assert not (tmp_path / "executed").exists()


# The command


def test_the_command_says_in_one_line_what_is_wrong(npz, tmp_path, capsys):
    for source, target, words in (
        (tmp_path / "nowhere.npz", tmp_path / "a.npz", "No such file"),
        (npz, tmp_path / "a.pth", "must end in .npz"),
        (npz, "/dev/null/a.npz", "cannot be written"),
    ):
        assert scoressl(["import", str(source), f"--to={target}"]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert words in said[0]
    assert not (tmp_path / "a.npz").exists()
