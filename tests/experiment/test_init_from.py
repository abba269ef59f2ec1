"""config.score.init_from with another run of ours: its weights are taken as they are, or the reason is said."""

import json
import shutil

import numpy as np
import pytest

LAST = 400


@pytest.fixture
def tiny_from(tiny):
    return lambda source: (*tiny, f"--config.score.init_from={source}")


def test_a_classifier_beside_taken_weights_is_the_one_beside_its_own(program, first_run, tiny_from, restored, tmp_path):
    source, _ = first_run
    outcome = program.run(tmp_path / "run", *tiny_from(f"run:{source}"), "--mode=run")
    assert outcome.code == 0, outcome.err
    assert f"parameters taken from run:{source}" in outcome.out
    own, taken = (restored(workdir, "score", LAST) for workdir in (source, tmp_path / "run"))
    averages = {name: array for name, array in own.items() if name.startswith("['ema_params']")}
    assert len(averages) > 5
    for name, array in averages.items():
        for part in ("ema_params", "params"):  # both are the averages
            np.testing.assert_array_equal(taken[name.replace("ema_params", part)], array, err_msg=name)
    assert not [name for name in taken if "opt_state" in name]
    states = [restored(workdir, "classifier", LAST) for workdir in (source, tmp_path / "run")]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)
    samples = [np.load(workdir / "samples" / "samples.npz")["images"] for workdir in (source, tmp_path / "run")]
    np.testing.assert_array_equal(*samples)
    own, taken = (json.loads((w / "results.json").read_text())["score"] for w in (source, tmp_path / "run"))
    assert taken == {"parameters": own["parameters"], "steps": LAST, "init_from": f"run:{source}"}
    assert f"run:{source}" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.score.width=16"], ["config.score.width is 16, the weights have 32"]),
        (["--config.sde.sigma_max=20.0"], ["trained on noise levels 0.01 to 10", "0.01 to 20"]),
        (["--config.score.scaling=sigma"], ["config.score.scaling is sigma, the weights have gaussian (ours)"]),
    ],
    ids=["width", "noise", "scaling"],
)
def test_what_does_not_fit_is_named(call_main, first_run, tiny_from, tmp_path, flags, words):
    flags = [*tiny_from(f"run:{first_run[0]}"), *flags, "--mode=train_score", f"--workdir={tmp_path / 'run'}"]
    code, line = call_main(*flags)
    assert code == 2
    for word in words:
        assert word in line


def test_a_source_that_is_not_finished_or_not_there(call_main, finished, tiny_from, tmp_path):
    source, rest = f"run:{finished}", ("--mode=train_score", f"--workdir={tmp_path / 'other'}")
    for step in (LAST, LAST - 50):
        shutil.rmtree(finished / "checkpoints" / "score" / str(step))
    code, line = call_main(*tiny_from(source), *rest)
    assert code == 2
    assert f"of its {LAST} steps: finish it first" in line
    shutil.rmtree(finished / "checkpoints" / "score")
    code, line = call_main(*tiny_from(source), *rest)
    assert code == 2
    assert f"has 0 of its {LAST} steps" in line
    code, line = call_main(*tiny_from("run:/nowhere"), *rest)
    assert code == 2
    assert "/nowhere holds no run" in line
    code, line = call_main(*tiny_from("weights.pth"), *rest)
    assert code == 2
    assert "give run:DIR, score_sde_torch:FILE.pth or score_sde_flax:FILE" in line


def test_a_truncated_checkpoint_is_one_clear_line(call_main, finished, tiny_from, tmp_path):
    folder = finished / "checkpoints" / "score" / str(LAST) / "state"
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    flags = tiny_from(f"run:{finished}")
    code, line = call_main(*flags, "--mode=train_score", f"--workdir={tmp_path / 'other'}")
    assert code == 2
    assert "cannot be read" in line
    assert str(folder) in line
