"""The benchmark of samplers, with few plans: what it prints, and what it needs of a run."""

import runpy
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.__main__ import main
from scoressl_jax.commands import benchmark_sampling as sampling_benchmark
from scoressl_jax.errors import UserError

FEW = {
    "chain": dict(sampler="predictor_corrector", corrector="langevin", steps=60),
    "solver": dict(sampler="dpm_solver", steps=2),
    "adaptive": dict(sampler="ode", tolerance=1e-2),
}


class Judge:
    """Takes every image for class 3."""

    name = "three"

    def outputs(self, images, batch):
        assert images.dtype == np.uint8
        return {"logits": np.eye(10)[np.full(len(images), 3)]}


def rows(out):
    lines = [line.split() for line in out.splitlines()]
    return {line[0]: [float(value) for value in line[1:]] for line in lines if line and line[0] in FEW}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(sampling_benchmark, "PLANS", FEW)
    monkeypatch.setattr(sampling_benchmark, "use_cores", lambda config: None)


def test_samplers_of_a_run(finished, monkeypatch, capsys):
    monkeypatch.setattr(sampling_benchmark, "judge_of_run", lambda path: Judge())
    monkeypatch.setattr(sampling_benchmark, "prepare_jax", lambda: None)
    assert main(["benchmark", "sampling", str(finished), "20"]) == 0
    found = rows(capsys.readouterr().out)
    assert [found["chain"][0], found["solver"][0]] == [120, 2]
    assert found["adaptive"][0] > 10  # as many as it needed
    for _, per_second, speed, agreement in found.values():
        assert per_second > 0
        assert speed > 0
        assert agreement == 10.0  # 2 of 20 images should be of class 3
    assert found["chain"][2] == 1.0


def test_samplers_of_untrained_networks(monkeypatch, capsys):
    monkeypatch.setattr(sampling_benchmark, "untrained", lambda shape: (experiment, parameters))
    experiment, parameters = Untrained(), ()
    monkeypatch.setattr(sampling_benchmark, "with_plan", lambda experiment, plan: Untrained(plan))
    monkeypatch.setattr(sampling_benchmark, "compiled_sampler", lambda cut, _: cut.draw)
    sampling_benchmark.of_untrained()
    found = rows(capsys.readouterr().out)
    assert found.keys() == {"chain", "solver"}
    assert [found["chain"][0], found["solver"][0]] == [120, 2]
    assert set(Untrained.drawn) == {20, 2}  # 60 steps of two calls are timed on 20


class Untrained:
    drawn = []

    def __init__(self, plan=None):
        from scoressl_jax.experiment.config import default_config

        self.config = default_config()
        self.config.sampling.update(plan or {})

    def draw(self, start):
        self.drawn.append(self.config.sampling.steps)
        return jnp.zeros(1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["a", "b"], "'b' is no whole number"), (["a", "1", "2"], "unrecognized arguments: 2")],
)
def test_wrong_arguments(arguments, words, capsys):
    assert main(["benchmark", "sampling", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("scoressl_jax: command line: ")
    assert words in line


def test_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        sampling_benchmark.of_run(tmp_path, 20)


def test_a_run_without_a_judge(finished):
    with pytest.raises(UserError, match="no trained judge"):
        sampling_benchmark.of_run(finished, 20)


def test_a_run_whose_networks_are_not_finished(finished):
    shutil.rmtree(finished / "checkpoints" / "classifier" / "400")
    with pytest.raises(UserError, match="stage classifier of .* is not finished"):
        sampling_benchmark.of_run(finished, 20)


def test_untrained_networks_of_images_of_another_size(monkeypatch, request):
    tiny = runpy.run_path(str(request.config.rootpath / "tests" / "tiny.py"))["get_config"]
    monkeypatch.setattr(sampling_benchmark, "default_config", tiny)
    experiment, (score, classifier) = sampling_benchmark.untrained((28, 28, 1))
    x, t = jnp.zeros((2, 28, 28, 1)), jnp.full(2, 0.5)
    score_fn = experiment.score_fn(score)
    assert jax.eval_shape(score_fn, x, t).shape == x.shape
    logits, _ = jax.eval_shape(experiment.classifier_fn(classifier, score_fn), x, t)
    assert logits.shape == (2, 10)
