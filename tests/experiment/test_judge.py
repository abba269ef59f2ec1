"""The judge: what it is trained on, what it says of images, and reading that of a run back."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.judge import (
    Judge,
    can_judge,
    check_shape,
    judge_level,
    judge_loss,
    judge_network,
    judge_of_run,
    measuring_job,
)
from scoressl_jax.training.loop import train
from scoressl_jax.training.signals import StopSignal

ROW, COLUMN = np.indices((8, 8))
STRIPES = 200 * np.stack([ROW % 2, COLUMN % 2, (ROW + COLUMN) % 2])[..., None]
LABELS = np.arange(300, dtype=np.int32) % 3
IMAGES = (STRIPES[LABELS] + np.random.default_rng(0).integers(0, 50, (300, 8, 8, 1))).astype(np.uint8)


def small_config(steps=30):
    config = default_config()
    # No blocks, so that it compiles fast; they are not needed to tell stripes apart.
    config.evaluation.update(judge_steps=steps, judge_depth=4, judge_learning_rate=0.05)
    config.training.steps_per_call = 30
    return config


def judge_job(config):
    stripes = dict(images=IMAGES, labels=LABELS, num_classes=3)
    return measuring_job(name="judge", config=config, steps=config.evaluation.judge_steps, **stripes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, compiled):
    """(directory that holds it as a run does, Judge) after 30 steps on 300 images of stripes."""
    workdir, config = tmp_path_factory.mktemp("judge"), small_config()
    state = train(judge_job(config), workdir, StopSignal())
    (workdir / "config.json").write_text(config.to_json())
    (workdir / "results.json").write_text(json.dumps({"data": {"name": "stripes", "num_train": 300, "num_classes": 3}}))
    return workdir, Judge(judge_network(config.evaluation, 3), jax.device_get(state.ema_params), "300 images")


def test_a_judge_needs_steps_and_all_labels():
    def judged(steps=5, labels=(0, 1)):
        config = default_config()
        config.evaluation.judge_steps = steps
        dataset = SimpleNamespace(y_train=np.array(labels), image_shape=(7, 5, 1))
        return can_judge(SimpleNamespace(config=config, dataset=dataset))

    assert judged()
    assert not judged(steps=0)
    assert not judged(labels=(0, -1))


def test_judge_sees_the_noise_asked_for_and_is_always_told_the_same():
    x, y = np.full((500, 2, 2, 1), 0.5, np.float32), np.arange(500) % 3

    def network(x, log_sigma):
        return x.reshape(500, 4)[:, :3], (x, log_sigma)

    seen = []

    def spying(x, log_sigma):
        seen.append((x, log_sigma))
        return network(x, log_sigma)

    def run(key):
        seen.clear()
        return judge_loss(spying, jnp.asarray(x), jnp.asarray(y), key, 0.1), seen[0]

    (loss, logs), (noisy, level) = jax.jit(run)(jax.random.key(0))
    assert np.std(noisy) == pytest.approx(0.1, rel=0.06)
    assert np.mean(noisy) == pytest.approx(0.5, abs=0.005)
    np.testing.assert_allclose(level, np.log(0.2), rtol=1e-6)
    np.testing.assert_allclose(judge_level(x), level, rtol=1e-6)
    logits = np.asarray(noisy, np.float64).reshape(500, 4)[:, :3]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(500), y]).mean(), rel=1e-4)
    assert logs["accuracy"] == pytest.approx((logits.argmax(1) == y).mean())


def test_it_learns_from_any_arrays_and_says_the_same_whatever_the_batch(trained):
    judge = trained[1]
    assert judge.name == "WideResNet-4-1 trained on 300 images"
    whole, parts = (judge.outputs(IMAGES[:50], batch) for batch in (50, 16))
    assert (whole["logits"].shape, whole["pool"].shape) == ((50, 3), (50, 16))
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-5)
    assert judge.accuracy(IMAGES, LABELS, 64) > 0.9
    assert judge.accuracy(IMAGES, (LABELS + 1) % 3, 64) < 0.1


def test_logits_are_the_last_layer_of_the_pool(trained):
    judge = trained[1]
    head = judge.params["params"]["Dense_0"]
    found = judge.outputs(IMAGES[:20], 20)
    assert found["pool"].min() >= 0  # behind a ReLU
    np.testing.assert_allclose(found["pool"] @ head["kernel"] + head["bias"], found["logits"], atol=1e-4)


def test_the_judge_of_a_run_is_the_one_that_was_trained(trained):
    workdir, judge = trained
    read = judge_of_run(workdir)
    assert read.trained_on == "all 300 labels of the training set of stripes"
    for name, values in judge.outputs(IMAGES[:20], 20).items():
        np.testing.assert_allclose(read.outputs(IMAGES[:20], 20)[name], values, atol=1e-5)
    for size in ((8, 8), (32, 32), (7, 5)):  # it averages over pixels
        check_shape(read, (*size, 1), workdir)
    with pytest.raises(UserError, match="another number of channels than these 3"):
        check_shape(read, (8, 8, 3), workdir)


def test_a_run_without_a_judge(trained, tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        judge_of_run(tmp_path)
    for name in ("config.json", "results.json"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    with pytest.raises(UserError, match=r"no trained judge \(0 of 30 steps\)"):
        judge_of_run(tmp_path)
    for text in ("[]", '{"seed": 0,', ""):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            judge_of_run(tmp_path)


def test_a_judge_of_other_length_is_not_finished(trained, tmp_path):
    (tmp_path / "checkpoints").symlink_to(trained[0] / "checkpoints")
    (tmp_path / "results.json").write_bytes((trained[0] / "results.json").read_bytes())
    (tmp_path / "config.json").write_text(small_config(steps=31).to_json())
    with pytest.raises(UserError, match="30 of 31 steps"):
        judge_of_run(tmp_path)


def test_sizes_that_its_patches_do_not_divide(trained, tmp_path):
    """A run made before judges had patches has no such field, and a judge without."""
    workdir, judge = trained
    for name in ("checkpoints", "results.json"):
        (tmp_path / name).symlink_to(workdir / name)
    config = json.loads((workdir / "config.json").read_text())
    for patch in (2, None):
        config["evaluation"]["judge_patch"] = patch
        if patch is None:
            del config["evaluation"]["judge_patch"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert judge_of_run(tmp_path).network == judge_network(small_config().evaluation, 3).clone(patch=patch or 1)
    in_twos = Judge(judge.network.clone(patch=2), judge.params, "300 images")
    for size in ((8, 7), (9, 8)):
        with pytest.raises(UserError, match=f"in patches of 2, but these are {size[0]}x{size[1]}: take --features"):
            check_shape(in_twos, (*size, 1), "runs/x")
