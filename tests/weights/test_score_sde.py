"""Released files of score_sde: our network gives the original's scores, and nothing else gets in."""

import json
import pickle
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax.serialization import msgpack_serialize

from scoressl_jax.__main__ import main as scoressl
from scoressl_jax.commands.run import parse
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.init_from import load
from scoressl_jax.experiment.networks import build_score_network
from scoressl_jax.experiment.process import build_sde
from scoressl_jax.models.ncsnpp import NCSNpp
from scoressl_jax.models.scaling import ScoreNetwork
from scoressl_jax.weights.fit import Weights, check, misfits
from scoressl_jax.weights.score_sde import flat, our_path, read_flax, read_torch

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
SHAPE = (16, 16, 3)
SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 2, "attention": (8,), "embedding": 8}
NOISE = (0.01, 50.0)


def small_config(**fields):
    config = default_config()
    config.sde.sigma_max = 50.0
    config.score.update({**SMALL, "scaling": "sigma", **fields})
    return config


def shapes_of(network, shape=SHAPE):
    inputs = jax.ShapeDtypeStruct((1, *shape), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
    return jax.eval_shape(network.init, jax.random.key(0), *inputs)


# A file in the layout of the JAX program, written here with its names (facts of the release: GroupNorm as (1, 1, 1, C))


def released(body):
    """{"params": body} of ours -> nested dicts as the JAX program names them."""
    tree = {}
    for path, array in flat(body).items():
        first, *inner, leaf = path
        kind, number = first.rsplit("_", 1)
        if kind == "NoiseEmbedding":
            first, inner = ("GaussianFourierProjection_0" if inner[0].startswith("Fourier") else inner[0]), []
        if kind == "ResidualBlock":
            first = f"ResnetBlockBigGANpp_{number}"
        if kind == "PyramidDownsample":
            first, inner, leaf = f"Downsample_{number}", ["Conv2d_0"], {"kernel": "weight"}.get(leaf, leaf)
        if kind == "Attention":
            first = f"AttnBlockpp_{number}"
            if inner[0].startswith("Dense"):
                inner, leaf = [inner[0].replace("Dense", "NIN")], {"kernel": "W", "bias": "b"}[leaf]
        if "GroupNorm" in (inner[0] if inner else first):
            array = array.reshape(1, 1, 1, -1)
        node = tree
        for name in (first, *inner):
            node = node.setdefault(name, {})
        node[leaf] = array
    return tree


@pytest.fixture(scope="module")
def network():
    return build_score_network(small_config())


@pytest.fixture(scope="module")
def params(network):
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes_of(network)) for _ in range(2)
    ]


@pytest.fixture
def flax_file(params, tmp_path):
    raw, averaged = (released(p["params"]["body"]) for p in params)
    moments = jax.tree.map(lambda leaf: {"grad_ema": leaf, "grad_sq_ema": leaf**2}, raw)
    state = {
        "step": 600_000,
        "optimizer": {"target": raw, "state": {"step": 600_000, "param_states": moments}},
        "lr": 2e-4,
        "model_state": {},
        "ema_rate": 0.999,
        "params_ema": averaged,
        "rng": np.array([1, 2], np.uint32),
    }
    path = tmp_path / "checkpoint_12"
    path.write_bytes(msgpack_serialize(state))
    return path


def assert_same_tree(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), found, expected)


def test_a_released_flax_file_round_trips(flax_file, params):
    weights = read_flax(flax_file, 16)
    assert_same_tree(weights.params, params[0])
    assert_same_tree(weights.ema_params, params[1])
    assert (weights.step, weights.scalings, weights.noise) == (600_000, ("sigma",), None)
    told = {"network": "ncsnpp", "fir": True, "pyramid": "residual"} | SMALL
    told.pop("attention")  # the file does not tell at which resolution it is
    assert weights.fields == told


# Every layout of a file, of grey images and of colours, its raw weights and its averages

LAYOUTS = {
    "residual": {"pyramid": "residual"},
    "skip": {"pyramid": "skip"},
    "positional": {"pyramid": "none", "fir": False, "kind": "positional"},
}
THEIRS = {"ResidualBlock": "ResnetBlockBigGANpp", "Attention": "AttnBlockpp", "PyramidDownsample": "Downsample"}


def shapes_in_order(network, shape):
    """(shapes of the parameters, names of the modules as theirs are called, in the order in which they are called)."""
    inputs, called = (jax.ShapeDtypeStruct((1, *shape), np.float32), jax.ShapeDtypeStruct((1,), np.float32)), []

    def init(key, *inputs):
        params = network.init(key, *inputs)
        called.extend(params["params"]["body"])  # what is traced comes back sorted
        return params

    shapes, order = jax.eval_shape(init, jax.random.key(0), *inputs), []
    for kind, number in (name.rsplit("_", 1) for name in called):
        fourier = ["GaussianFourierProjection_0"] if network.body.kind == "fourier" else []
        embedding = [*fourier, "Dense_0", "Dense_1"]
        order += embedding if kind == "NoiseEmbedding" else [f"{THEIRS.get(kind, kind)}_{number}"]
    return shapes, order


def as_torch(theirs, order):
    """{"all_modules.INDEX.NAME": array} of the JAX program's nested dicts."""
    found = {}
    for index, name in enumerate(order):
        for (*inner, leaf), array in flat(theirs[name]).items():
            if leaf in ("kernel", "weight"):
                leaf, array = "weight", array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            elif leaf in ("scale", "bias"):
                leaf, array = {"scale": "weight", "bias": "bias"}[leaf], array.reshape(-1)
            found[".".join((f"all_modules.{index}", *inner, leaf))] = array
    return found


class Tensor:
    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


def flattened(tree):
    """Group normalisation's parameters as (C,), as flax has them since 0.3.5."""
    return {
        name: flattened(part) if isinstance(part, dict) else part.reshape(-1) if name in ("scale", "bias") else part
        for name, part in tree.items()
    }


def write_flax(path, raw, averaged):
    state = {"step": 7, "optimizer": {"target": raw}, "lr": 2e-4, "params_ema": averaged}
    path.write_bytes(msgpack_serialize(state))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("file", ["flax", "flax before 0.3.5", "torch"])
def test_every_layout_of_a_released_file(file, channels, layout, tmp_path, monkeypatch):
    network = ScoreNetwork(NCSNpp(**SMALL | LAYOUTS[layout]), scaling="sigma")
    shapes, order = shapes_in_order(network, (16, 16, channels))
    rng = np.random.default_rng(0)
    raw, averaged = (
        jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes) for _ in range(2)
    )
    frequencies = averaged["params"]["body"]["NoiseEmbedding_0"].get("FourierEmbedding_0")
    if frequencies:  # never trained, so never averaged
        frequencies["W"] = raw["params"]["body"]["NoiseEmbedding_0"]["FourierEmbedding_0"]["W"]
    theirs, path = [released(p["params"]["body"]) for p in (raw, averaged)], tmp_path / "checkpoint"
    if file == "torch":
        path.write_bytes(b"PK")
        model, shadow = (as_torch(arrays, order) for arrays in theirs)
        content = {
            "model": {f"module.{name}": Tensor(array) for name, array in model.items()},
            "ema": {"shadow_params": [Tensor(a) for name, a in shadow.items() if name != "all_modules.0.W"]},
            "step": 7,
        }
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=lambda *_, **__: content))
        weights = read_torch(path, 16)
    else:
        if file == "flax":
            theirs = [flattened(tree) for tree in theirs]
        write_flax(path, *theirs)
        weights = read_flax(path, 16)
    assert_same_tree(weights.params, raw)
    assert_same_tree(weights.ema_params, averaged)
    assert misfits(weights.ema_params, shapes) == []
    assert weights.fields["pyramid"] == network.body.pyramid
    assert weights.fields.get("attention", (8,)) == (8,)


@pytest.mark.parametrize(
    "options",
    [
        {"multipliers": (1, 2, 2, 2), "blocks": 8, "attention": (16,)},
        {"multipliers": (1, 1, 2, 2, 2), "blocks": 2, "pyramid": "skip", "attention": ()},
        {"multipliers": (2, 2), "blocks": 1, "pyramid": "none", "fir": False, "kind": "positional"},
        {"multipliers": (3,), "blocks": 2, "pyramid": "none", "fir": False},
    ],
)
def test_the_architecture_is_read_off_the_weights(options, tmp_path):
    from scoressl_jax.weights.score_sde import architecture

    network = ScoreNetwork(NCSNpp(width=4, embedding=4, **options))
    body = shapes_of(network)["params"]["body"]
    found = architecture(body, "file")
    wanted = {"network": "ncsnpp", "width": 4, "embedding": 4, "fir": True, "pyramid": "residual"} | options
    for other in ("attention", "kind"):
        wanted.pop(other, None)
    if options["multipliers"] == (3,):  # nothing changes the resolution, so nothing tells
        wanted |= {"pyramid": "none"}
    assert found == wanted


def test_names_of_the_released_deep_network_are_those_of_ours():
    """Facts of the release: top-level names and shapes of the 107M network."""
    shapes = {
        "GaussianFourierProjection_0/W": (128,),
        "Dense_0/kernel": (256, 512),
        "Dense_1/kernel": (512, 512),
        "Conv_0/kernel": (3, 3, 3, 128),
        "Conv_1/kernel": (3, 3, 128, 3),
        "Downsample_0/Conv2d_0/weight": (3, 3, 3, 128),
        "Downsample_1/Conv2d_0/weight": (3, 3, 128, 256),
        "Downsample_2/Conv2d_0/weight": (3, 3, 256, 256),
        "ResnetBlockBigGANpp_65/Conv_2/kernel": (1, 1, 384, 256),
        "ResnetBlockBigGANpp_75/GroupNorm_1/scale": (128,),
        "AttnBlockpp_9/NIN_3/W": (256, 256),
        "AttnBlockpp_8/NIN_0/b": (256,),
    }
    inputs = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
    body = jax.eval_shape(NCSNpp(blocks=8).init, jax.random.key(0), *inputs)["params"]
    for name, shape in shapes.items():
        node = body
        for part in our_path(tuple(name.split("/"))):
            node = node[part]
        assert node.shape == shape, name


# The original networks' own scores


@pytest.fixture(scope="module", params=["ncsnpp_ve_tiny", "ddpmpp_vp_tiny"])
def golden(request):
    pytest.importorskip("torch", reason="PyTorch, which reads the reference weights, is not installed")
    if not GOLDEN.exists():
        pytest.skip("the reference weights are not here")
    options = json.loads((GOLDEN / f"{request.param}.json").read_text())
    return GOLDEN / f"{request.param}.pth", options, np.load(GOLDEN / f"{request.param}.npz")


def golden_config(path, options):
    weights, config = read_torch(path, 32), default_config()
    config.score.update(weights.fields)
    config.score.scaling = weights.scalings[0]
    config.sde.name, config.sde.sigma_max = options["sde"].removesuffix("sde"), options["sigma_max"]
    return weights, config


def test_what_a_torch_file_tells(golden):
    path, options, _ = golden
    weights, config = golden_config(path, options)
    names = {"nf": "width", "ch_mult": "multipliers", "num_res_blocks": "blocks", "attn_resolutions": "attention"}
    for theirs, ours in names.items():
        assert config.score[ours] in (options[theirs], tuple(np.atleast_1d(options[theirs]).tolist())), ours
    assert (config.score.fir, config.score.pyramid) == (options["fir"], options["progressive_input"])
    assert weights.step == 1234
    if options["scale_by_sigma"]:
        assert weights.noise == pytest.approx((options["sigma_min"], options["sigma_max"]))
    assert misfits(weights.ema_params, shapes_of(build_score_network(config), (32, 32, 3))) == []


@pytest.mark.parametrize("which", ["score_model", "score_ema"])
def test_scores_are_those_of_the_original_network(golden, which):
    path, options, reference = golden
    weights, config = golden_config(path, options)
    network, sde = build_score_network(config), build_sde(config)
    params = weights.params if which == "score_model" else weights.ema_params
    x, t, expected = reference["x_t"], reference["t"], reference[which]
    log_sigma, factor = sde.log_sigma(t), 1.0
    if options["centered"]:  # images in [-1, 1]: ours are half as large, and so is their noise
        alpha = np.asarray(sde.marginal(t)[0])[:, None, None, None]
        x, log_sigma, factor = (x / alpha + 1) / 2, log_sigma - np.log(2), 2 * alpha
    found = np.asarray(jax.jit(network.apply)(params, x, log_sigma)) / factor
    for i in range(len(t)):
        assert np.linalg.norm(found[i] - expected[i]) < 1e-4 * np.linalg.norm(expected[i]), t[i]
    other = reference["score_ema" if which == "score_model" else "score_model"]
    assert np.linalg.norm(found - other) > 1e-2 * np.linalg.norm(other), "raw and averaged weights differ on purpose"


# What does not fit is named


def complaint(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def checked(weights, config, network):
    check(
        weights,
        source="source",
        block="config.score",
        fields=config.score,
        resolutions=[16, 8],
        noise=NOISE,
        network=network,
        image_shape=SHAPE,
    )


def weights_of(params, scalings=("sigma",), noise=None, **changes):
    fields = {"network": "ncsnpp", "fir": True, "pyramid": "residual"} | SMALL | changes
    return Weights(params, params, 1, scalings, fields, noise)


def test_what_fits_is_taken(network, params):
    checked(weights_of(params[0], noise=NOISE), small_config(), network)
    # Attention at a height that no level has means nothing.
    checked(weights_of(params[0]), small_config(attention=(8, 32)), network)


def test_every_field_that_differs_is_named(network, params):
    weights = weights_of(params[0], ("time", "index"), width=128, blocks=8, attention=(16,))
    message = complaint(checked, weights, small_config(), network)
    for words in (
        "config.score.width is 8, the weights have 128",
        "config.score.blocks is 2, the weights have 8",
        "config.score.attention is (8,), the weights have (16,)",
        "config.score.scaling is sigma, the weights have time (sde.name vp or subvp) or index (sde.name ve, discrete",
    ):
        assert words in message


def test_every_key_that_differs_is_named(network, params):
    body = dict(params[0]["params"]["body"])
    body["Conv_7"] = body.pop("Conv_1")
    body["Conv_0"] = {"kernel": np.zeros((3, 3, 1, 8)), "bias": np.zeros(8)}
    message = complaint(checked, weights_of({"params": {"body": body}}), small_config(), network)
    assert "body/Conv_0/kernel is [3, 3, 1, 8], the network's is [3, 3, 3, 8]" in message
    assert "body/Conv_1/bias is missing; body/Conv_1/kernel is missing" in message
    assert message.endswith("and 1 more keys")


def test_noise_levels_beyond_those_of_the_training_are_refused(network, params):
    message = complaint(checked, weights_of(params[0], noise=(0.01, 10.0)), small_config(), network)
    assert "trained on noise levels 0.01 to 10, the process has 0.01 to 50" in message


# Bad files


class Mark:
    """A pickle that writes a file when it is loaded by a careless reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_no_file_executes_code(tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps({"model": Mark(mark), "ema": Mark(mark), "step": 1}, protocol=2))
    assert "evil.pth is a PyTorch file" in complaint(read_flax, file, 16)
    try:
        import torch  # noqa: F401
    except ImportError:
        assert "PyTorch" in complaint(read_torch, file, 16)
    else:
        assert "evil.pth cannot be read" in complaint(read_torch, file, 16)
    assert not mark.exists()
    pickle.loads(file.read_bytes())
    assert mark.exists(), "the file does what a careless reader would let it"


def test_truncated_and_foreign_files(flax_file, tmp_path):
    whole = flax_file.read_bytes()
    short = tmp_path / "short"
    short.write_bytes(whole[: len(whole) // 2])
    assert "short cannot be read as msgpack" in complaint(read_flax, short, 16)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(msgpack_serialize({"weights": np.zeros(3)}))
    assert "foreign has no 'params_ema'" in complaint(read_flax, foreign, 16)
    state = {"params_ema": {"Conv_0": {"kernel": np.zeros((3, 3, 3, 8))}}, "optimizer": {"target": {}}, "step": 1}
    foreign.write_bytes(msgpack_serialize(state))
    assert "holds no NCSN++" in complaint(read_flax, foreign, 16)
    state["params_ema"] = {"VisionTransformer_0": {"kernel": np.zeros(3)}}
    foreign.write_bytes(msgpack_serialize(state))
    assert "VisionTransformer_0/kernel, which is not of an NCSN++" in complaint(read_flax, foreign, 16)
    assert "No such file" in complaint(read_flax, tmp_path / "nowhere", 16)


@pytest.mark.parametrize("source", ["checkpoint_12", "score_sde_flax:", "flax:checkpoint_12", "run:"])
def test_unknown_sources(source):
    assert "give run:DIR, score_sde_torch:FILE.pth or score_sde_flax:FILE" in complaint(load, source, 16)


# Converting once


def test_converted_once_it_is_a_run(flax_file, params, tmp_path, capsys):
    target = tmp_path / "released"
    command = ["import", str(flax_file), f"--to={target}", "--image-size=16", "--attention", "8"]
    assert scoressl(command) == 0
    said = capsys.readouterr().out
    assert "after 600,000 steps" in said
    flags = said.splitlines()[-1]
    assert f"--config.score.init_from=run:{target} --config.score.scaling=sigma" in flags
    assert "--config.score.multipliers='(1, 2)'" in flags
    assert flags.endswith("--config.sde.name=ve --config.sde.sigma_min=0.01 --config.sde.sigma_max=50.0")
    pasted = parse(["--config=configs/digits_ssl_da.py", "--workdir=w", *shlex.split(flags)])[0]
    weights = load(f"run:{target}", 16)
    assert_same_tree(weights.ema_params, params[1])
    assert (weights.step, weights.scalings) == (600_000, ("sigma",))
    assert weights.noise == pytest.approx(NOISE, rel=1e-3)
    checked(weights, pasted, build_score_network(pasted))
    assert scoressl(command) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda path: path.write_text("a text"), [], "cannot be read as msgpack"),
        (lambda path: path.write_bytes(b""), [], "is empty"),
        (lambda path: None, [], "No such file"),
        (None, ["--sde=vp"], "has a Fourier embedding, as for ve: leave --sde out"),
        (None, ["--to={file}"], "cannot be written"),
        (None, ["--attention", "5", "--image-size=16", "--sigma-max=0.001"], "config.sde.sigma_max"),
    ],
    ids=["text", "empty", "missing", "sde", "target", "sigma"],
)
def test_mistakes_in_converting_are_one_line(flax_file, tmp_path, capsys, make, options, words):
    file = flax_file
    if make:
        file = tmp_path / "file"
        make(file)
    options = [option.format(file=file) for option in options]
    assert scoressl(["import", str(file), f"--to={tmp_path / 'new'}", *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert words in said[0]
    assert not (tmp_path / "new").exists()


def test_a_torch_file_read_as_flax_is_told_apart(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"PK and so on")
    assert f"read it as score_sde_torch:{file}" in complaint(read_flax, file, 16)
