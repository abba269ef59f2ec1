"""--mode=check: figures for what fits, scaled ones for what would take a CPU too long."""

import re

import jax
import pytest
import tiny

from scoressl_jax.experiment import estimate as check


def test_check_of_a_tiny_run(program, tmp_path):
    outcome = program.run(tmp_path / "run", "--config=tests/tiny.py", "--mode=check")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.strip().splitlines()
    assert [line.split()[0] for line in lines] == ["data", "score", "classifier", "sample"]
    assert "1437 training images (8, 8, 1), 100 labelled, 1337 unlabelled" in lines[0]
    for line, count in ((lines[1], "7,396"), (lines[2], "7,662")):
        assert f"{count} parameters, batch x 16" in line
        kept, activations = map(float, re.search(r"([\d.]+) \+ ([\d.]+) MiB \(kept \+ activations\)", line).groups())
        assert 0.1 < kept < 10
        assert 0.0 < activations < 10
        assert "timed on" not in line
    assert "20 images, 8 network calls each: about" in lines[3]
    assert not (tmp_path / "run").exists(), "a check writes nothing"


@pytest.mark.parametrize(("prior", "more"), [(0.0, ["class_prior_0", "class_prior_1"]), (0.5, [])])
def test_classifiers_that_estimate_a_class_prior_are_counted(monkeypatch, prior, more):
    counted = []
    monkeypatch.setattr(check, "report_job", lambda job: counted.append(job.name))
    monkeypatch.setattr(check, "time_sampling", lambda *_: 1.0)
    config = tiny.get_config()
    config.regime, config.classifier.terms.prior = "pu", 1.0
    config.data.update(positive_classes=(1, 3, 5, 7, 9), num_positive=100, class_prior=prior)
    check.check(config)
    assert counted == ["score", *more, "classifier"]


def test_large_steps_are_timed_on_cut_batches(monkeypatch):
    """The scale is the ratio of operations, here of a product whose cost is its rows."""
    weights = jax.numpy.ones((64, 64))
    lower = lambda sizes: jax.jit(lambda x: x @ weights).lower(jax.numpy.ones((sizes["x"], 64)))  # noqa: E731
    sizes = {"x": 96 * jax.device_count()}
    lowered, scale = check.affordable(lower, sizes)
    assert scale == 1
    assert lowered.args_info[0][0].shape[0] == sizes["x"]
    monkeypatch.setattr(check, "AFFORDABLE", check.flops_of(lowered) / 32)
    lowered, scale = check.affordable(lower, sizes)
    assert lowered.args_info[0][0].shape[0] == 3 * jax.device_count()
    assert scale == pytest.approx(32)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (170, "170 s"), (600, "10 minutes"), (11_000, "3 hours"), (1e6, "12 days")]
)
def test_durations(seconds, text):
    assert check.duration(seconds) == text
