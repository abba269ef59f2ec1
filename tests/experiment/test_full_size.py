"""The papers' networks at full size, for what no small network shows; minutes and gigabytes, hence slow."""

import jax
import numpy as np
import pytest

from scoressl_jax.commands.run import load_config
from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.run import parameter_count


@pytest.mark.slow
def test_a_step_of_the_classifier_beside_the_deep_score_network(tmp_path, monkeypatch, request):
    """Score-SSL on CIFAR-10, all its terms, batch 8: the 107M NCSN++ frozen, WRN-28-2 trained; nothing is NaN."""
    monkeypatch.chdir(request.config.rootpath)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 10
    np.savez(tmp_path / "fake.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    config = load_config("configs/cifar10_ssl.py")
    config.data.name, config.data.path, config.data.num_labels = "npz", str(tmp_path / "fake.npz"), 20
    config.classifier.batch_size, config.classifier.unlabeled_batch_size = 8, 8
    config.training.steps_per_call = 1
    experiment = build.build(config)

    # Drawn leaf by leaf in NumPy: compiling the initialisers of 963 arrays would take a minute.
    inputs = experiment.example_inputs()
    shapes = jax.eval_shape(experiment.score_network.init, jax.random.key(0), *inputs)
    score_params = jax.tree.map(lambda s: rng.normal(0, 0.05, s.shape).astype(np.float32), shapes)
    assert parameter_count(score_params) == 107_587_075
    job = jobs.classifier_job(experiment, score_params)
    state = jax.jit(job.init_state)()
    assert parameter_count(state.params) > 2_300_000
    indices = {name: rows[0] for name, rows in job.indices(0, 0, 1).items()}
    new, logs = jax.jit(job.update)(state, job.arrays, job.frozen, indices, jax.random.key(0))
    for name in ("loss", "ce", "dlsm", "pseudo", "denoising", "temporal"):
        assert np.isfinite(logs[name]), name
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params))
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), state.params, new.params))
    assert sum(moved) > 0.9 * len(moved)
