"""The shape of the house: imports run downwards, libraries know no config, files and functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "scoressl_jax"
# A module imports only from lines above its own; inside a folder, from files named before it.
HOUSE = """
errors files
devices
sde guidance
models: layers convolution mlp ncsnpp wide_resnet clean_resnet resnet flow vae scaling inception
data: dataset splits fingerprint augmentation randaugment digits npz pictures folder tfds image_sets pack
losses: semi_supervised positive_unlabeled score_matching
methods: graph baselines score_ssl learner supervised pi_model pseudo_label mean_teacher mixmatch fixmatch laplacenet flow_gmm ssl_vae pvu upu nnpu punce table
sampling: loop langevin few_steps predictor_corrector ode inverse generate
training: state step metrics checkpoints signals loop
weights: fit score_sde inception
metrics: samples classification frechet kernel inception_score manifold generation likelihood score_error inception features
report: html fonts charts snapshot generation results classifier training times samples page groups compare few_labels
experiment: progress fields process networks training teacher objective samplers data machine run config recipes build jobs choice speaker judge init_from class_prior stages adopt measure labels estimate drawing images
studies.moons: points relu networks config jobs charts page torch_loop study
studies: kinds
api
commands: arguments run few_labels report sample compare evaluate import_weights pack benchmark_metrics benchmark_moons benchmark_sampling benchmark_train benchmark reproduced
main __main__
"""  # noqa: E501
LIBRARIES = ("models", "data", "losses", "methods", "sampling", "training", "weights", "metrics", "report")


def places():
    """{module: (line, position in it)}."""
    found = {}
    for line, text in enumerate(HOUSE.strip().splitlines()):
        folder, _, files = text.rpartition(":")
        for position, name in enumerate(files.split()):
            found[".".join(filter(None, (folder, name)))] = (line, position if folder else -1)
    return found


PLACES = places()


def modules():
    """{module: its tree} of every file with code."""
    paths = {p: ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in ROOT.rglob("*.py")}
    return {name: ast.parse(p.read_text()) for p, name in paths.items() if p.name != "__init__.py"}


MODULES = modules()


def imported(tree):
    """Modules of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "scoressl_jax":
            base = node.module.removeprefix("scoressl_jax").removeprefix(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".strip(".")
                yield whole if whole in PLACES else base
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("scoressl_jax.") for a in node.names if a.name.startswith("scoressl_jax."))


def test_every_module_has_its_place():
    assert sorted(MODULES) == sorted(PLACES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_from_above(module):
    line, position = PLACES[module]
    for source in imported(MODULES[module]):
        if source:  # "" is the package itself, which holds no more than its version and `open`
            above, before = PLACES[source]
            free = PLACES[module][1] == -1 and PLACES[source][1] == -1  # names on a line without a folder are equals
            assert above < line or (above == line and (before < position or free)), f"{module} imports {source}"


@pytest.mark.parametrize("module", [m for m in sorted(MODULES) if m.split(".")[0] in LIBRARIES])
def test_libraries_know_no_config(module):
    names = {n.module for n in ast.walk(MODULES[module]) if isinstance(n, ast.ImportFrom)}
    assert not names & {"ml_collections"}
    words = [n.value for n in ast.walk(MODULES[module]) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [text for text in words if "config." in text and "tensorflow" not in text]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_functions_fit_on_a_screen(module):
    long = {n.name: n.end_lineno - n.lineno for n in ast.walk(MODULES[module])
            if isinstance(n, ast.FunctionDef) and n.end_lineno - n.lineno > 66}  # fmt: skip
    assert not long


def test_nothing_but_commands_prints_an_error_or_exits():
    for module, tree in MODULES.items():
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        allowed = module in ("errors", "main", "__main__", "training.signals") or module.startswith("commands.")
        assert allowed or not called & {"sys.exit", "exit", "os._exit", "quit"}, module
