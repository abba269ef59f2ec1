"""scoressl few_labels: which methods and how many labels a regime has, and a table of one cell a method."""

import json

import numpy as np
import pytest
from experiments import ROOT
from small import stripes

from scoressl_jax.commands import few_labels
from scoressl_jax.experiment.config import FIELDS, validate
from scoressl_jax.files import flat
from scoressl_jax.methods.baselines import BASELINES
from scoressl_jax.methods.table import METHODS, PU_METHODS

POSITIVE = f"--config={ROOT}/configs/mnist_pu.py"
HALF = f"--config={ROOT}/configs/mnist_ssl.py"

GENERATIVE = ["flow_gmm", "ssl_vae"]  # asked for by name


def parse(*argv):
    return few_labels.parse([*argv, "--output=somewhere"])


def test_methods_and_labels_are_those_of_the_regime():
    options, config = parse(POSITIVE)
    assert options.methods == list(PU_METHODS)
    assert options.labels == [config.data.num_positive] == [1000]
    options, config = parse(HALF)
    assert options.methods == ["auto", *(m for m in METHODS if m not in GENERATIVE), *BASELINES]
    assert options.labels == [config.data.num_labels]
    assert parse(HALF, "--methods=ssl_vae,flow_gmm")[0].methods == GENERATIVE[::-1]


@pytest.mark.parametrize(("config", "method", "others"), [(POSITIVE, "svm", PU_METHODS), (HALF, "pvu", METHODS)])
def test_methods_of_another_regime_are_refused(refused, tmp_path, config, method, others):
    line = refused("few_labels", config, f"--output={tmp_path}", f"--methods={method}")
    assert f"--methods={method}: choose among " in line
    assert ",".join(others) in line


def test_a_cell_has_labels_of_its_seed_and_what_no_teacher_reads_at_its_default():
    for argument, method, field, other in (
        (POSITIVE, "pvu", "num_positive", "num_labels"),
        (HALF, "mean_teacher", "num_labels", "num_positive"),
    ):
        before = parse(argument)[1]
        cell = few_labels.of_cell(before, 70, 3, method)
        assert (cell.data[field], cell.data[other]) == (70, before.data[other])
        assert (cell.seed, cell.data.split_seed, cell.teacher.method) == (3, 3, method)
        known = dict(flat(FIELDS))
        for name in ("classifier.terms.pseudo", "classifier.threshold"):
            assert dict(flat(json.loads(cell.to_json())))[name] == known[name].default
        validate(cell)
        assert before.seed == 0


def test_a_table_of_positives_and_unlabelled_images(scoressl, tmp_path):
    np.savez(tmp_path / "own.npz", **stripes())
    flags = dict(
        regime="pu", **{"data.name": "npz", "data.path": tmp_path / "own.npz", "data.num_positive": 15,
        "data.positive_classes": "('0',)", "data.num_labels": 100, "data.class_prior": 0.1, "evaluation.k": 1,
        "teacher.depth": 4, "teacher.patch": 4, "teacher.batch_size": 8, "teacher.unlabeled_batch_size": 16},
    )  # fmt: skip
    fields = [f"--config.{name}={value}" for name, value in flags.items()]
    out = tmp_path / "out"
    code, said, errors = scoressl(
        "few_labels", f"--config={ROOT}/tests/tiny.py", f"--output={out}", *fields,
        "--methods=pvu,nnpu", "--labels=12", "--seeds=4", "--steps=3",
    )  # fmt: skip
    assert (code, errors) == (0, [])
    cells = json.loads((out / "few_labels.json").read_text())["cells"]
    assert set(cells) == {"npz-12-pvu-4", "npz-12-nnpu-4"}
    for name, cell in cells.items():
        assert (cell["labels"], cell["seed"], cell["steps"]) == (12, 4, 3)
        assert 0 <= cell["accuracy"] <= 1
        facts = json.loads((out / "runs" / name / "data.json").read_text())
        assert (facts["num_labeled"], facts["num_unlabeled"]) == (12, 48)
    assert "| pvu |" in said
