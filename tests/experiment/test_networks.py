"""Networks of a config: the numbers that are computed in, and images whose sizes they cannot take."""

import jax.numpy as jnp
import pytest

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import networks
from scoressl_jax.experiment.config import FIELDS, default_config
from scoressl_jax.models.mlp import MLP, MLPClassifier
from scoressl_jax.models.scaling import ScoreNetwork


def changed(**fields):
    config = default_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def refused(config, height=8, width=8, judge_patch=1):
    with pytest.raises(UserError) as error:
        networks.check_size(config, height, width, judge_patch=judge_patch)
    return str(error.value)


def test_images_that_cannot_be_halved_or_cut():
    three = changed(score__multipliers=(1, 2, 2))
    networks.check_size(three, 8, 12, judge_patch=1)
    for size in ((8, 6), (6, 8)):
        found = refused(three, *size)
        assert found.startswith(f"images of {size[0]}x{size[1]} are not divisible by 4, as config.score.multipliers and")
        assert "config.data.image_size" in found
    patched = changed(score__multipliers=(1, 2), score__patch=3)
    networks.check_size(patched, 6, 12, judge_patch=1)
    assert "not divisible by 6, as config.score.multipliers and score.patch ask" in refused(patched, 9, 9)
    assert "divisible by 3, as config.classifier.patch asks" in refused(changed(classifier__patch=3))
    networks.check_size(changed(classifier__patch=3), 6, 6, judge_patch=3)
    assert "divisible by 5, as config.evaluation.judge_patch asks" in refused(default_config(), judge_patch=5)
    networks.check_size(changed(score__network="mlp", score__multipliers=(1, 1, 1, 1, 1)), 7, 5, judge_patch=1)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", None), ("bfloat16", jnp.bfloat16)])
def test_what_networks_compute_in(dtype, kind):
    config = changed(dtype=dtype, score__network="mlp", classifier__network="mlp")
    assert networks.build_score_network(config).body.dtype is kind
    assert networks.build_classifier_network(config, 3).dtype is kind


def test_fields_of_an_option_arrive_and_others_do_not():
    config = changed(score__network="mlp", score__width=12, score__blocks=3, score__dropout=0.25, score__embedding=6)
    config.score.multipliers = (1, 2)
    body = MLP(width=12, blocks=3, dropout=0.25, embedding=6)
    assert networks.build_score_network(config) == ScoreNetwork(body=body, scaling="gaussian", process=None)
    config = changed(classifier__network="mlp", classifier__width=20, classifier__blocks=4, classifier__embedding=10)
    expected = MLPClassifier(num_classes=7, width=20, blocks=4, embedding=10, denoised_input=True)
    assert networks.build_classifier_network(config, 7) == expected
    config.classifier.kind = "noisy"
    assert networks.build_classifier_network(config, 7) == expected.clone(denoised_input=False)


def test_lists_of_a_config_file_are_tuples_of_a_network():
    config = changed(score__multipliers=[1, 2], score__attention=[4])
    body = networks.build_score_network(config).body
    assert (body.multipliers, body.attention) == ((1, 2), (4,))


def test_weights_fit_where_all_that_makes_the_network_is_equal():
    """What is compared before weights are taken: every field of the score network but those of training."""
    training = {"scaling", "dropout"}  # scaling is compared apart, dropout has no weights
    assert set(networks.SCORE_ARCHITECTURE) == set(networks.SCORE_FIELDS) - training
    assert set(networks.SCORE_ARCHITECTURE) <= set(FIELDS["score"])
