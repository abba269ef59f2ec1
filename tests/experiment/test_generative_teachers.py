"""Methods with networks of their own: the job, the labels, and the run that is opened, are of these networks."""

import numpy as np
import pytest
import tiny
from small import stripes

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import build, speaker
from scoressl_jax.experiment.adopt import adopt
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Work, execute
from scoressl_jax.experiment.teacher import ALL_METHODS, build_network, has_network, read_by
from scoressl_jax.models.flow import Flow
from scoressl_jax.models.vae import SemiSupervisedVAE

SMALL = {"flow_gmm": dict(width=4, couplings=1), "ssl_vae": dict(width=8, latent=3)}
NETWORKS = {"flow_gmm": Flow, "ssl_vae": SemiSupervisedVAE}


@pytest.fixture
def config_of(tmp_path):
    def config_of(method, size=8):
        np.savez(tmp_path / "own.npz", **{n: a[:, :size] if n[0] == "x" else a for n, a in stripes().items()})
        config = tiny.get_config()
        config.data.name, config.data.path, config.data.num_labels = "npz", str(tmp_path / "own.npz"), 30
        config.teacher.update(method=method, batch_size=8, unlabeled_batch_size=16, steps=4)
        config.teacher[method].update(SMALL[method])
        config.evaluation.update(batch_size=16, k=1)
        return config

    return config_of


@pytest.mark.parametrize("method", SMALL)
def test_labels_are_those_of_its_own_network_now_and_when_the_run_is_opened(config_of, method, tmp_path, compiled):
    config = config_of(method)
    work = Work(IMAGES, Run(tmp_path / "run"), build.build(config), mode="train_teacher")
    adopt(work, "")
    execute(IMAGES, "train_teacher", work)
    images, p = work.experiment.dataset.x_train, work.run.arrays("teacher")["probabilities"]
    network = build_network(config.teacher, 3, config.dtype, (8, 8, 1))
    assert isinstance(network, NETWORKS[method])
    logits = network.apply(work.run.params("teacher"), images / np.float32(255))[0]
    odds = np.exp(np.asarray(logits) - np.asarray(logits).max(1, keepdims=True))
    np.testing.assert_allclose(p, odds / odds.sum(1, keepdims=True), atol=1e-3)
    assert p.std(0).max() > 1e-3
    found = speaker.opened(Run(work.run.workdir), config, 3).probabilities(images)
    np.testing.assert_allclose(found, p, atol=1e-5)


def test_images_that_a_flow_cannot_take_are_refused_with_the_data(config_of):
    with pytest.raises(UserError, match="images are 6 x 8: flow_gmm takes heights and widths of 4 n"):
        build.build(config_of("flow_gmm", size=6))


def test_fields_of_the_usual_network_are_not_theirs():
    usual = {"teacher.depth", "teacher.widen", "teacher.patch"}
    for name in ALL_METHODS:
        assert has_network(name) == (name in NETWORKS)
        assert usual & set(read_by(name)) == (set() if name in NETWORKS else usual)
    assert not has_network("none")
    assert not has_network("auto")
