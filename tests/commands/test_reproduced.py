"""What a run has reached: operations against closed forms, peaks, rates, and the table of a run."""

import json
import runpy
from pathlib import Path

import pytest

from scoressl_jax.__main__ import main
from scoressl_jax.commands import reproduced
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.studies.moons.config import default_config as moons_config
from scoressl_jax.studies.moons.study import MOONS

TINY = Path(__file__).parents[1] / "tiny.py"


@pytest.mark.parametrize("steps_per_call", [1, 20])
def test_operations_of_one_step(steps_per_call, product_job):
    # 2 B n^2 for the product, n^2 to change the weights, B n for the sum.
    exact = 2 * 16 * 256**2 + 256**2 + 16 * 256
    assert reproduced.step_flops(product_job(steps_per_call)) == pytest.approx(exact, rel=0.01)


def tiny_config():
    return runpy.run_path(str(TINY))["get_config"]()


def test_operations_of_a_network():
    """Forward, and both gradients: 2, 4 and at least 0 operations a weight and image; the rest is small beside it."""
    score, classifier = reproduced.jobs_of(IMAGES, tiny_config())
    assert (score.name, classifier.name) == ("score", "classifier")
    products = 16 * 7396  # images times parameters
    assert 4 * products < reproduced.step_flops(score) < 10 * products
    assert reproduced.step_flops(classifier) > reproduced.step_flops(score)


def test_jobs_follow_the_config():
    config = tiny_config()
    config.score.init_from, config.evaluation.judge_steps = "run:somewhere", 5
    assert [(job.name, job.steps) for job in reproduced.jobs_of(IMAGES, config)] == [("classifier", 40), ("judge", 5)]
    config.regime, config.data.positive_classes, config.data.num_positive = "pu", (1, 3), 50
    config.classifier.terms.prior = 1.0
    found = reproduced.jobs_of(IMAGES, config)
    assert [job.name for job in found] == ["classifier", "judge"]  # not what estimates the class prior
    assert reproduced.step_flops(found[0]) > 0
    config.score.warm_start, config.classifier.init_from = True, "run:gone"  # trained, whatever it began with
    assert [job.name for job in reproduced.jobs_of(IMAGES, config)] == ["score", "classifier", "judge"]
    names = [job.name for job in reproduced.jobs_of(MOONS, moons_config())]
    assert names[0] == "score"
    assert set(names[1:]) == {"classifier_ce", "classifier_dlsm", "classifier_dlsm_ce"}


@pytest.mark.parametrize(("kind", "dtype", "precision", "peak"), [
    ("NVIDIA H200", "float32", None, (494, "TF32")),
    ("NVIDIA H200", "float32", "tensorfloat32", (494, "TF32")),
    ("NVIDIA H200", "float32", "highest", (67, "float32")),
    ("NVIDIA H200", "bfloat16", "highest", (989, "bfloat16")),
    ("NVIDIA H100 80GB HBM3", "bfloat16", None, (989, "bfloat16")),
    ("NVIDIA A100-SXM4-40GB", "float32", None, (156, "TF32")),
    ("NVIDIA A100-SXM4-40GB", "float32", "float32", (19.5, "float32")),
    ("Tesla T4", "float32", None, (8.1, "float32")),
    ("Tesla T4", "bfloat16", None, (65, "float16")),
    ("NVIDIA H100 PCIe", "float32", None, None),
    ("NVIDIA H200 MIG 1g.18gb", "float32", None, None),
    ("NVIDIA T400 4GB", "float32", None, None),
    ("cpu", "float32", None, None),
])
def test_peaks(kind, dtype, precision, peak):
    assert reproduced.peak_of(kind, dtype, precision) == peak


def rows(*pairs):
    return [{"stage": "score", "step": step, "time": time, "loss": 1.0} for step, time in pairs]


def test_rates_leave_compilations_out():
    # The first call compiles; so does the one after step 30, where the run was started again.
    metrics = rows((10, 30.0), (20, 30.5), (30, 31.0), (40, 61.0), (50, 61.5), (55, 61.75))
    assert reproduced.steps_per_second(metrics) == pytest.approx(20)
    assert reproduced.steps_per_second(metrics[:1]) is None


@pytest.fixture
def workdir(tmp_path):
    """A run that ended after 30 of its 40 steps of the score network, with figures of an earlier one."""
    (tmp_path / "checkpoints" / "score" / "30").mkdir(parents=True)
    (tmp_path / "config.json").write_text(tiny_config().to_json())
    metrics = rows((10, 5.0), (20, 5.1), (30, 5.2))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    results = {"classifier": {"accuracy": 0.75, "accuracy_all_noise": 0.5, "f1": 0.625}, "samples": {"count": 3}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


@pytest.fixture
def call(capsys, monkeypatch, compiled):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", compiled)
    monkeypatch.setenv("XLA_FLAGS", "")  # which the command changes for its process

    def run(*argv):
        code = main(["reproduced", *(str(argument) for argument in argv)])
        said = capsys.readouterr()
        return code, said.out, said.err.splitlines()

    return run


def test_a_run_cut_short(workdir, call):
    code, out, errors = call(workdir, "--peak-tflops=0.001")
    assert (code, errors) == (0, [])
    found = json.loads((workdir / "reproduced.json").read_text())
    assert found["hardware"]["platform"] == "cpu"
    score = found["stages"]["score"]
    assert (score["steps"], score["of"], score["seconds"]) == (30, 40, 5.2)
    assert score["steps_per_second"] == pytest.approx(100)
    peak = 1e9 * found["hardware"]["devices"]
    assert score["share_of_peak"] == pytest.approx(score["flops_per_step"] * 100 / peak)
    assert found["stages"]["classifier"] == {"steps": 0, "of": 40}
    assert found["results"] == {"accuracy": 0.75, "accuracy_all_noise": 0.5, "f1": 0.625}

    table = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert table["peak"] == "0.001 TFLOP/s a device (as given)"
    assert table["score"].startswith("30 of 40 steps, 100 steps/s, ")
    assert table["score"].endswith(f"{score['share_of_peak']:.2%} of the peak")
    assert table["classifier"] == "0 of 40 steps"
    assert table["f1"] == "0.6250"


def test_without_a_known_peak_the_share_is_left_out(workdir, call):
    code, out, _ = call(workdir)
    found = json.loads((workdir / "reproduced.json").read_text())
    assert (code, found["peak"]) == (0, None)
    assert "share_of_peak" not in found["stages"]["score"]
    assert "give it with --peak-tflops" in out


def test_a_study_of_the_two_moons(call, tmp_path):
    (tmp_path / "config.json").write_text(moons_config().to_json())
    code, out, errors = call(tmp_path)
    assert (code, errors) == (0, [])
    table = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert table["score"] == "0 of 2,500 steps"
    assert table["classifier_dlsm"] == "0 of 2,200 steps"


def test_a_run_that_cannot_be_written(workdir, call, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reproduced, "check_writable", full)
    monkeypatch.setattr(reproduced, "collect", lambda *_: pytest.fail("it is known before anything is computed"))
    code, out, (line,) = call(workdir)
    assert (code, out) == (2, "")
    assert f"{workdir} cannot be written (No space left on device)" in line


@pytest.mark.parametrize(("argv", "words"), [
    (["nowhere"], "nowhere holds no run"),
    ([], "RUN"),
    (["nowhere", "--peak-tflops=-1"], "--peak-tflops=-1.0: it must be greater than 0"),
    (["nowhere", "--peak-tflops=big"], "'big'"),
])
def test_bad_input_is_one_line(call, argv, words):
    code, out, errors = call(*argv)
    assert (code, out) == (2, "")
    assert len(errors) == 1
    assert words in errors[0]
