"""--mode=check: figures for what fits, scaled ones for what would take a CPU too long."""

import re

import jax
import pytest
import tiny
from small import command

from scoressl_jax.experiment import build, estimate
from scoressl_jax.experiment.images import IMAGES


def test_check_of_a_tiny_run(program, tmp_path):
    outcome = program.run(tmp_path / "run", "--config=tests/tiny.py", "--mode=check")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["data", "score", "classifier", "samples"]
    assert "1437 training images (8, 8, 1), 100 labelled, 1337 unlabelled" in lines[0]
    for line, count in ((lines[1], "7,396"), (lines[2], "7,662")):
        assert f"{count} parameters, batch x 16" in line
        kept, activations = map(float, re.search(r"([\d.]+) \+ ([\d.]+) MiB \(kept \+ activations\)", line).groups())
        assert 0.1 < kept < 10
        assert 0.0 < activations < 10
        assert "timed on" not in line
        assert "40 steps: about" in line
    assert "20 images, 8 network calls each: about" in lines[3]
    assert outcome.err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"run.out", "run.err"}, "a check writes nothing"


@pytest.fixture
def counted(monkeypatch):
    """(config) -> stages that are timed, with those that are told in words."""

    def stages(config, capsys):
        monkeypatch.setattr(estimate, "report_job", lambda job: print(f"{job.name} timed"))
        monkeypatch.setattr(estimate, "call_seconds", lambda *_: 1.0)
        capsys.readouterr()
        estimate.check(IMAGES, build.build(config))
        lines = capsys.readouterr().out.splitlines()
        return [line.split()[0] for line in lines if line.endswith(" timed")], lines

    return stages


@pytest.mark.parametrize(("prior", "more"), [(0.0, ["class_prior_0", "class_prior_1"]), (0.5, [])])
def test_classifiers_that_estimate_a_class_prior_are_counted(counted, prior, more, capsys):
    config = tiny.get_config()
    config.regime, config.classifier.terms.prior = "pu", 1.0
    config.data.update(positive_classes=(1, 3, 5, 7, 9), num_positive=100, class_prior=prior)
    assert counted(config, capsys)[0] == ["score", *more, "classifier"]


def test_the_judge_and_the_classifier_of_samples_are_counted(counted, capsys):
    config = tiny.get_config()
    config.evaluation.judge_steps = 3
    assert counted(config, capsys)[0] == ["score", "classifier", "judge", "cas"]
    config.evaluation.cas_steps = 0
    assert counted(config, capsys)[0] == ["score", "classifier", "judge"]


def test_weights_that_are_taken_are_not_trained(own, complaint, capfd):
    new, source = own.workdir.with_name("new"), f"--config.score.init_from=run:{own.workdir}"
    flags = (source, "--config.sampling.count=6", "--config.evaluation.features=none", "--mode=check")
    assert command(new, *flags, path=own.path) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1] == "score         weights that are there already: nothing to train"
    assert lines[2].startswith("classifier")
    assert "20 steps: about" in lines[2]
    assert command(new, *flags, "--config.score.warm_start=True", "--config.score.steps=7", path=own.path) == 0
    assert "7 steps: about" in capfd.readouterr().out.splitlines()[1]
    wider = (*flags, "--config.score.width=9")
    assert "config.score.width is 9, the weights have 8" in complaint(new, *wider, path=own.path)
    assert not new.exists()


@pytest.mark.parametrize(
    ("fields", "seconds", "calls"),
    [
        (dict(count=20, batch_size=16, steps=7), 7 * 2 * 3.0, "7 network calls"),
        (dict(count=20, batch_size=16, steps=7, scale=0.0), 7 * 2 * 1.0, "7 network calls"),
        (dict(count=17, batch_size=8, steps=11, sampler="heun", scale=0.0), 21 * 3 * 1.0, "21 network calls"),
        (dict(count=5, batch_size=16, sampler="ode", steps=20), 200 * 3.0, "some 200 network calls"),
        (dict(per_class=(1,) * 9 + (8,), batch_size=8, steps=7), 7 * 3 * 3.0, "7 network calls"),
    ],
)
def test_seconds_of_samples_by_hand(fields, seconds, calls, monkeypatch):
    """A call of a batch takes three seconds with the classifier's gradient, one without."""
    config = tiny.get_config()
    config.sampling.update(sampler="dpm_solver", corrector="none")
    config.sampling.update(fields)
    monkeypatch.setattr(estimate, "call_seconds", lambda experiment, parameters, scale: 3.0 if scale else 1.0)
    monkeypatch.setattr(estimate, "duration", lambda seconds: f"{seconds:.6f}")
    monkeypatch.setattr(estimate.Rehearsal, "params", lambda self, name: name)
    count = sum(config.sampling.per_class) or config.sampling.count
    line = estimate.sampling_line(estimate.Rehearsal(IMAGES, build.build(config)))
    assert line == f"{count} images, {calls} each: about {seconds:.6f}"


def test_an_interval_costs_the_gradient_at_its_share_of_the_calls(monkeypatch):
    config = tiny.get_config()
    config.sampling.update(sampler="dpm_solver", corrector="none", count=16, steps=20, interval=(0.05, 1.0))
    monkeypatch.setattr(estimate, "call_seconds", lambda experiment, parameters, scale: 3.0 if scale else 1.0)
    monkeypatch.setattr(estimate, "duration", lambda seconds: f"{seconds:.6f}")
    monkeypatch.setattr(estimate.Rehearsal, "params", lambda self, name: name)
    experiment = build.build(config)
    share = estimate.samplers.guided_share(config.sampling, experiment.sde)
    assert 0.2 < share < 0.9
    line = estimate.sampling_line(estimate.Rehearsal(IMAGES, experiment))
    assert line.endswith(f"about {20 * (3 * share + 1 - share):.6f}")


def test_a_call_is_timed_with_the_gradient_at_every_level_or_without(monkeypatch):
    """Whatever the interval, which is left to the share."""
    config, seen = tiny.get_config(), []
    config.sampling.update(interval=(5.0, 6.0), scale=2.5)
    experiment = build.build(config)

    def guided_score(everywhere, parameters, labels):
        seen.append((everywhere.config.sampling.scale, tuple(everywhere.config.sampling.interval), len(labels)))
        return lambda x, t: 0 * x

    monkeypatch.setattr(estimate.samplers, "guided_score", guided_score)
    for scale in (2.5, 0.0):
        assert estimate.call_seconds(experiment, ({}, {}), scale) >= 0
    assert seen == [(2.5, (), 16), (0.0, (), 16)]
    assert config.sampling.interval == (5.0, 6.0)


def test_large_steps_are_timed_on_cut_batches(monkeypatch):
    """The scale is the ratio of operations, here of a product whose cost is its rows."""
    weights = jax.numpy.ones((64, 64))
    lower = lambda sizes: jax.jit(lambda x: x @ weights).lower(jax.numpy.ones((sizes["x"], 64)))  # noqa: E731
    sizes = {"x": 96 * jax.device_count()}
    lowered, scale = estimate.affordable(lower, sizes)
    assert scale == 1
    assert lowered.args_info[0][0].shape[0] == sizes["x"]
    monkeypatch.setattr(estimate, "AFFORDABLE", estimate.flops_of(lowered) / 32)
    lowered, scale = estimate.affordable(lower, sizes)
    assert lowered.args_info[0][0].shape[0] == 3 * jax.device_count()
    assert scale == pytest.approx(32)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (170, "170 s"), (600, "10 minutes"), (11_000, "3 hours"), (1e6, "12 days")]
)
def test_durations(seconds, text):
    assert estimate.duration(seconds) == text
