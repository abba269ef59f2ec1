"""Networks of a config: the numbers that are computed in, and images whose sizes they cannot take."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.commands.run import load_config
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
        assert f"images of {size[0]}x{size[1]} are not divisible by 4, as config.score.multipliers and" in found
        assert "config.data.image_size" in found
    patched = changed(score__multipliers=(1, 2), score__patch=3)
    networks.check_size(patched, 6, 12, judge_patch=1)
    assert "not divisible by 6, as config.score.multipliers and score.patch ask" in refused(patched, 9, 9)
    assert "divisible by 3, as config.classifier.patch asks" in refused(changed(classifier__patch=3))
    networks.check_size(changed(classifier__patch=3), 6, 6, judge_patch=3)
    taught = changed(teacher__method="fixmatch", teacher__patch=3)
    assert "divisible by 3, as config.teacher.patch asks" in refused(taught)
    networks.check_size(taught, 6, 6, judge_patch=1)
    assert "divisible by 5, as config.evaluation.judge_patch asks" in refused(default_config(), judge_patch=5)
    networks.check_size(changed(score__network="mlp", score__multipliers=(1, 1, 1, 1, 1)), 7, 5, judge_patch=1)


def test_attention_at_heights_that_levels_have():
    config = changed(score__multipliers=(1, 1, 1))
    for heights in ((), (8,), (4, 2)):
        config.score.attention = heights
        networks.check_size(config, 8, 12, judge_patch=1)
    config.score.attention = (4, 7)
    assert refused(config, 8, 12) == (
        "config.score.attention is (4, 7), but no level is 7 pixels high: images of 8x12 make levels of 8, 4, 2; name "
        "some of these, or () for none"
    )
    config.score.update(attention=(8,), patch=2)
    assert "make levels of 4, 2, 1" in refused(config)
    # A run that was made so goes on.
    networks.check_size(config, 8, 8, judge_patch=1, known={"score": {"attention": [8]}})
    networks.check_size(changed(score__network="mlp", score__attention=(3,)), 8, 8, judge_patch=1)


SIZED = {"mnist": 28, "cifar": 32, "svhn": 32}


def test_every_config_fits_its_images():
    for path in sorted((Path(__file__).parents[2] / "configs").glob("*_*.py")):
        if path.stem.split("_")[0] in ("mnist", "cifar10", "cifar100", "svhn"):
            size = SIZED[path.stem.split("_")[0].rstrip("0123456789")]
            config = load_config(str(path))
            networks.check_size(config, size, size, judge_patch=config.evaluation.judge_patch)


def made(network, size=4):
    """Shapes of a network's output for one grey image."""
    x, level = jax.ShapeDtypeStruct((1, size, size, 1), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
    return jax.eval_shape(lambda key, x, level: network.init_with_output(key, x, level)[0], jax.random.key(0), x, level)


def test_score_networks_of_any_width():
    for width in (1, 7, 9, 17, 37, 58, 101, 129, 254):
        for options in ({}, {"pyramid": "skip"}, {"patch": 2, "multipliers": (3,)}):
            network = networks.build_score_network(changed(score__width=width, score__embedding=2))
            network = network.clone(body=network.body.clone(**options))
            assert made(network).shape == (1, 4, 4, 1)


@pytest.mark.parametrize(
    ("network", "field", "sizes"),
    [
        ("wide_resnet", "widen", (3, 7, 9, 11, 13, 15)),
        ("resnet", "width", (1, 30, 37, 100, 200)),
        ("mlp", "width", (1, 7, 30)),
    ],
)
def test_classifiers_of_any_width(network, field, sizes):
    depth = {"classifier.depth": 18} if network == "resnet" else {}
    for size in sizes:
        config = changed(classifier__network=network, classifier__kind="noisy", classifier__embedding=1, **depth)
        config.classifier[field] = size
        logits, _ = made(networks.build_classifier_network(config, 3))
        assert logits.shape == (1, 3)


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
