"""The two-moons study as a program: a small run of every stage, its files, its presets, and what it refuses."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.commands import run as command
from scoressl_jax.commands.run import load_config
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.run import Run
from scoressl_jax.losses.score_matching import (
    denoising_likelihood_score_matching,
    denoising_score_matching,
    likelihood_score,
)
from scoressl_jax.losses.semi_supervised import cross_entropy
from scoressl_jax.main import main
from scoressl_jax.metrics.score_error import PUBLISHED_EPS, oracle, parzen_score
from scoressl_jax.sde import VE
from scoressl_jax.studies.moons import jobs, study
from scoressl_jax.studies.moons.config import LOSSES, default_config, validate
from scoressl_jax.training.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/moons_dlsm.py"
SMALL = (
    f"--config={CONFIG}",
    "--config.score.steps=20",
    "--config.classifier.steps=20",
    "--config.classifier.runs=2",
    "--config.sampling.count=64",
    "--config.sampling.langevin_steps=4",
    "--config.sampling.reverse_steps=4",
    "--config.training.steps_per_call=10",
    "--config.training.checkpoint_every=10",
)
METHODS = ("base", "scaling", "posterior_sm", "dlsm", "dlsm_ce", "oracle")


@pytest.fixture(scope="module")
def run(program, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("moons") / "run"
    outcome = program.run(workdir, *SMALL)
    assert outcome.code == 0, outcome.err
    return workdir, outcome


@pytest.fixture(scope="module")
def fields(run):
    with np.load(run[0] / "score_fields.npz") as file:
        return dict(file)


def errors(run):
    return json.loads((run[0] / "results.json").read_text())["score_error"]


def test_fields_of_every_method_are_saved(fields):
    names = {f"{m}_{kind}_{c}" for m in METHODS for kind in ("posterior", "likelihood") for c in "01"}
    names -= {"posterior_sm_likelihood_0", "posterior_sm_likelihood_1"}
    assert set(fields) == names | {"points"}
    assert all(values.shape == (1225, 2) and np.isfinite(values).all() for values in fields.values())


def test_errors_can_be_recomputed_from_the_fields(run, fields):
    points, labels = jobs.load_moons()
    found = errors(run)
    assert set(found) == set(METHODS)
    for name, eps in (("exact", 0.0), ("published", PUBLISHED_EPS)):
        posterior, prior = oracle(fields["points"], points, labels, 7.5, eps)
        for method in METHODS:
            for c in (0, 1):
                true = {"D_P": ("posterior", posterior[c]), "D_L": ("likelihood", posterior[c] - prior)}
                expected = {
                    d: np.sqrt(((fields[f"{method}_{kind}_{c}"] - field) ** 2).sum(-1)).mean()
                    for d, (kind, field) in true.items()
                    if f"{method}_{kind}_{c}" in fields
                }
                assert found[method][str(c)][name] == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_methods_differ_as_they_are_defined(fields):
    for c in "01":
        prior = fields[f"base_posterior_{c}"] - fields[f"base_likelihood_{c}"]
        np.testing.assert_allclose(fields[f"scaling_likelihood_{c}"], 10 * fields[f"base_likelihood_{c}"], rtol=1e-5)
        for method in ("scaling", "dlsm", "dlsm_ce"):
            rest = fields[f"{method}_posterior_{c}"] - fields[f"{method}_likelihood_{c}"]
            np.testing.assert_allclose(rest, prior, atol=1e-4)
        assert np.abs(fields[f"dlsm_likelihood_{c}"] - fields[f"dlsm_ce_likelihood_{c}"]).max() > 1e-4


def test_samples_are_measured(run):
    with np.load(run[0] / "samples" / "samples.npz") as drawn:
        assert set(drawn) == {f"{s}_{m}_{c}" for s in ("langevin", "reverse_sde") for m in METHODS for c in "01"}
        assert all(drawn[name].shape == (64, 2) for name in drawn)
        assert not np.allclose(drawn["langevin_base_0"], drawn["langevin_base_1"])
    for per_class in errors(run).values():
        for values in per_class.values():
            for sampler in ("langevin", "reverse_sde"):
                assert set(values[sampler]) == {"precision", "recall", "density", "coverage"}
                assert 0 <= values[sampler]["recall"] <= 1


def test_curves_are_logged_for_every_run(run):
    rows = [row for row in read_metrics(run[0]) if row["stage"] == "classifier_dlsm"]
    assert [row["step"] for row in rows] == [10, 20]
    for row in rows:
        assert {"ce_0", "ce_1", "dlsm_0", "dlsm_1", "score_error_0", "score_error_1"} <= set(row)
        assert row["score_error_0"] != row["score_error_1"]
    measured = errors(run)["dlsm"]
    mean = np.mean([measured[c]["exact"]["D_L"] for c in "01"])
    assert rows[-1]["score_error_0"] == pytest.approx(mean, rel=1e-4)


def test_report_shows_pictures_and_tables(run):
    page = (run[0] / "report.html").read_text()
    pictures = {path.stem for path in (run[0] / "figures").glob("*.png")}
    assert {"fields", "reverse_sde", "curve_score_error", "curve_ce"} <= pictures
    assert page.count('src="data:image/png') == len(pictures)
    assert "This was not measured" not in page
    assert "over 2 runs" in page
    assert "DLSM alone" in run[1].out
    assert re.search(r"\(e\) oracle +0\.0000 +0\.0000", run[1].out)


def test_again_it_does_nothing_and_a_change_is_refused(run, program):
    workdir = run[0]
    before = (workdir / "score_fields.npz").stat().st_mtime_ns
    assert program.run(workdir).code == 0
    assert (workdir / "score_fields.npz").stat().st_mtime_ns == before
    outcome = program.run(workdir, "--config.classifier.ce_weight=1.0")
    assert outcome.code == 2
    assert "checkpoints/classifier" in outcome.complaint
    assert "checkpoints/score" not in outcome.complaint


def test_a_run_of_format_1_is_finished_too(run, tmp_path, at_root, capfd):
    workdir = shutil.copytree(run[0], tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    del config["format"]
    (workdir / "config.json").write_text(json.dumps(config))
    for name in ("data.json", "made.json"):
        (workdir / name).unlink()
    results = json.loads((workdir / "results.json").read_text())
    assert main([f"--workdir={workdir}"]) == 0
    said = capfd.readouterr().out
    for stage in ("score", *(f"classifier_{loss}" for loss in LOSSES), "samples", "evaluation"):
        assert f"\n{stage}: done, " in said
    assert json.loads((workdir / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("evaluation.scale=5.0", "score_fields.npz"),
        ("evaluation.sigma=3.0", "checkpoints/score"),
        ("evaluation.neighbours=4", "score_fields.npz"),
        ("preset=faithful", "config.preset is"),
    ],
)
def test_changes_of_what_is_measured_are_refused(flag, words, run, call_main):
    config = () if flag.startswith("evaluation") else SMALL
    code, said = call_main(f"--workdir={run[0]}", *config, f"--config.{flag}", "--mode=report")
    assert code == 2
    assert words in said


def test_a_stage_asks_for_those_before_it(call_main, tmp_path):
    for mode, words in (("train_classifier", "--mode=train_score"), ("sample", "--mode=train_")):
        code, said = call_main(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", f"--mode={mode}")
        assert code == 2
        assert words in said


def test_check_times_every_network_and_writes_nothing(capfd, at_root, tmp_path):
    assert main([*SMALL, f"--workdir={tmp_path / 'run'}", "--mode=check"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "data          moons: 10000 points, all labelled, 2 classes"
    assert [line.split()[0] for line in lines[1:]] == ["score", *(f"classifier_{loss}" for loss in LOSSES)]
    assert all(", 20 steps: about" in line for line in lines[1:])
    assert not (tmp_path / "run").exists()


def test_the_run_says_what_it_was_made_with(run):
    opened = Run.open(run[0])
    assert opened.data["class_names"] == ["upper", "lower"]
    assert opened.results["data"]["num_train"] == opened.data["num_train"] == 10_000
    assert opened.results["classifier"]["parameters"] == 2306
    assert opened.results["score"]["networks"] == 3
    stages = [line for line in run[1].out.splitlines() if line.startswith("stage ")]
    assert [line.split(": ")[0] for line in stages] == [f"stage {i} of 7" for i in range(1, 8)]
    assert stages[2] == "stage 3 of 7: classifier_dlsm"


# Presets and fields


def test_faithful_is_the_released_program():
    config = load_config(CONFIG, "faithful")
    validate(config)
    assert config.preset == "faithful"
    assert (config.sde.sigma_min, config.sde.sigma_max) == (1e-3, 10.0)
    for stage in (config.score, config.classifier):
        assert (stage.network, stage.power, stage.batch_size, stage.steps) == ("published", 2.0, 4000, 40_002)
        assert (stage.schedule, stage.warmup, stage.ema, stage.times, stage.focus) == ("constant", 0, 0, "uniform", 0)
    assert config.score.learning_rate == 6.5e-4
    assert dict(config.classifier.learning_rate) == {"ce": 1e-5, "dlsm": 2e-5, "dlsm_ce": 1e-5}
    assert config.classifier.ce_weight == 0.125


def test_preset_comes_before_other_flags_and_unknown_ones_are_refused(call_main, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(command, "execute", lambda kind, mode, work: seen.append(work.config))
    flags = (f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}")
    monkeypatch.chdir(ROOT)
    assert main([*flags, "--config.score.steps=7", "--config.preset=faithful"]) == 0
    assert (seen[0].score.steps, seen[0].classifier.steps) == (7, 40_002)
    code, said = call_main(*flags, "--config.preset=best")
    assert code == 2
    assert "choose default or faithful" in said
    code, said = call_main("--config=configs/digits_pu.py", flags[1], "--config.preset=faithful")
    assert code == 2
    assert "preset" in said


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("score.network", "mlp", "scaled, published"),
        ("sampling.count", 4, "greater than config.evaluation.neighbours"),
        ("evaluation.sigma", 60.0, "config.sde.sigma_max"),
        ("score.focus", 1.0, r"[0, 1)"),
        ("sampling.reverse_steps", 1, "2 or more"),
        ("sde.focus", (20.0, 3.0), "config.sde.focus"),
    ],
)
def test_values_are_refused(field, value, words):
    config = default_config()
    stage, name = field.split(".")
    config[stage][name] = value
    with pytest.raises(UserError, match=re.escape(words)):
        validate(config)


# Parts


def test_oracle_of_the_sampler_is_the_exact_one():
    points = jobs.load_moons()[0][::50]
    sde, rng = VE(0.05, 50.0), np.random.default_rng(0)
    for sigma in (0.1, 7.5, 40.0):
        x = 20 * rng.normal(size=(50, 2)) if sigma > 1 else points[::4] + sigma * rng.normal(size=(50, 2))
        t = jnp.full(50, float(sde.inverse_std(sigma)))
        found = jax.jit(study.parzen(jnp.asarray(points, jnp.float32), sde))(jnp.asarray(x, jnp.float32), t)
        np.testing.assert_allclose(found, parzen_score(x, points, sigma), rtol=2e-3, atol=2e-3 / sigma)


def test_published_rule_rises_through_the_noise_levels():
    config = default_config()
    config.sampling.langevin_rule, config.sampling.langevin_steps = "published", 3
    made = jobs.build(config)
    seen = []

    def score(x, t):
        jax.debug.callback(lambda t: seen.append(float(t[0])), t, ordered=True)
        return jnp.zeros_like(x)

    keys = jax.random.split(jax.random.key(0), 2)
    jax.block_until_ready(jax.jit(lambda keys: study.samplers(made)["langevin"](keys, score))(keys))
    assert seen == pytest.approx([0, 1 / 3, 2 / 3])


def test_torch_loop_has_the_arithmetic_of_the_faithful_steps():
    """DSM and DLSM+CE of the PyTorch loop against ours, on the same weights and batch."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed (pip install -e '.[torch]')")
    import torch

    from scoressl_jax.studies.moons import torch_loop

    made = jobs.build(load_config(CONFIG, "faithful"))
    networks = {"score": torch_loop.Network(), "classifier": torch_loop.Network()}

    def ours(network):
        layers = [*network.x[::2], *network.sigma[::2], network.out]
        names = ["x1", "x2", "x3", "sigma1", "sigma2", "sigma3", "out"]
        parts = {}
        for name, layer in zip(names, layers, strict=True):
            parts[f"{name}_w"], parts[f"{name}_b"] = layer.weight.detach().numpy().T, layer.bias.detach().numpy()
        return {"params": parts}

    points, labels = (torch.tensor(a) for a in jobs.load_moons())
    x_t, y, sigma, z = torch_loop.noisy_batch(points.float(), labels.long())
    theirs = float(torch_loop.dsm(networks["score"], x_t, sigma, z))
    x_0, t = (x_t - sigma * z).numpy(), made.sde.inverse_std(sigma[:, 0].numpy())
    score_fn = made.score_fn(ours(networks["score"]))
    found = denoising_score_matching(score_fn, made.sde, x_0, t, z.numpy(), power=2.0)
    assert float(found) == pytest.approx(theirs, rel=1e-3)

    theirs = float(torch_loop.dlsm_ce(networks["classifier"], networks["score"], x_t, y, sigma, z))
    logits, _, g = likelihood_score(made.classifier_fn(ours(networks["classifier"])), x_t.numpy(), t, y.numpy())
    dlsm = denoising_likelihood_score_matching(g, score_fn(x_t.numpy(), t), made.sde, t, z.numpy(), power=2.0)
    assert float(dlsm.mean() + 0.125 * cross_entropy(logits, y.numpy())) == pytest.approx(theirs, rel=1e-3)
