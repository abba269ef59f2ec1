"""Defaults that hold together, and every value that is refused."""

import importlib.util
import json

import jax
import pytest
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import config as config_module
from scoressl_jax.experiment.checks import BELOW_ONE, FRACTIONS, NAMES, NOT_NEGATIVE, POSITIVE, validate
from scoressl_jax.experiment.config import default_config
from scoressl_jax.experiment.fields import choose
from scoressl_jax.studies.moons import config as moons


def changed(**fields):
    """The default with changes; double underscores stand for dots."""
    config = default_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def refused(**fields):
    with pytest.raises(UserError) as error:
        validate(changed(**fields))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_default_is_valid():
    validate(default_config())


def test_every_config_file_is_valid(request):
    paths = sorted((request.config.rootpath / "configs").glob("*.py"))
    assert paths
    for path in paths:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config()
        (moons.validate if config.data.name == "moons" else validate)(config)


def test_unknown_fields_and_wrong_types_are_refused_by_the_config_itself():
    config = default_config()
    with pytest.raises((AttributeError, KeyError)):
        config.score.stepz = 3
    with pytest.raises(TypeError):
        config.score.steps = "many"


def test_the_default_survives_json():
    config = default_config()
    config.update(json.loads(config.to_json()))
    assert config == default_config()
    assert isinstance(config.score, ConfigDict)


@pytest.mark.parametrize("field", NAMES)
def test_unknown_names(field):
    message = refused(**{field: "nonesuch"})
    assert f"config.{field} is 'nonesuch'" in message
    for name in NAMES[field]:
        assert name in message


@pytest.mark.parametrize("field", POSITIVE)
def test_not_positive(field):
    for value in (0, -1):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")


@pytest.mark.parametrize("field", NOT_NEGATIVE)
def test_negative(field):
    assert refused(**{field: -1}).startswith(f"config.{field} is -1")
    validate(changed(**{field: 0}))


@pytest.mark.parametrize("field", FRACTIONS)
def test_not_a_fraction(field):
    for value in (0.0, -0.1, 1.1):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")
    validate(changed(**{field: 1.0}))


@pytest.mark.parametrize("field", BELOW_ONE)
def test_not_below_one(field):
    for value in (1.0, -0.1, 2.0):
        assert refused(**{field: value}).startswith(f"config.{field} is {value}")
    validate(changed(**{field: 0.0}))


def test_not_a_number():
    assert "learning_rate" in refused(score__learning_rate=float("nan"))


def test_noise_ranges():
    assert "sigma_max" in refused(sde__sigma_max=0.001)
    assert "beta_max" in refused(sde__beta_max=0.1)


def test_sampling_needs_two_steps():
    assert "config.sampling.steps is 1" in refused(sampling__steps=1)


def test_depth_of_the_wide_resnet():
    assert "config.classifier.depth is 11" in refused(classifier__depth=11)
    validate(changed(classifier__depth=11, classifier__network="mlp"))


def test_class_prior():
    for prior in (-0.1, 1.0, 1.5, float("nan")):
        for regime in ("pu", "ssl"):
            assert f"config.data.class_prior is {prior}" in refused(regime=regime, data__class_prior=prior)
    for prior in (0.0, 0.5):
        validate(changed(regime="pu", data__class_prior=prior))
    assert refused(data__prior_steps=0) == "config.data.prior_steps is 0: it must be greater than 0"


def test_patches_and_shifts():
    for field in ("score.patch", "classifier.patch", "evaluation.judge_patch"):
        for value in (0, -2):
            found = refused(**{field: value})
            assert found == f"config.{field} is {value}: it must be greater than 0"
        validate(changed(**{field: 2}))
    assert refused(classifier__random_shift=-1) == "config.classifier.random_shift is -1: it must be 0 or more"
    for stage in ("score", "classifier"):
        mlp = {f"{stage}__network": "mlp"}
        assert f"config.{stage}.patch is 2, but an mlp has no patches" in refused(**mlp, **{f"{stage}__patch": 2})
        validate(changed(**mlp))


def test_terms():
    off = {f"classifier__terms__{name}": 0.0 for name in default_config().classifier.terms}
    assert "terms is 0" in refused(**off)
    message = refused(regime="supervised")
    assert "pseudo" in message
    assert "temporal" in message
    validate(changed(regime="supervised", **off | {"classifier__terms__ce": 1.0}))
    assert "terms.prior" in refused(classifier__terms__prior=1.0)


def test_samples_that_cannot_be_compared():
    message = refused(sampling__count=5)
    assert "config.sampling.count is 5" in message
    assert "evaluation.k" in message
    for fields in (dict(evaluation__features="none"), dict(evaluation__judge_steps=0), dict(evaluation__k=4)):
        validate(changed(sampling__count=5, **fields))
    assert "sampling.count is 5" in refused(sampling__count=5, evaluation__features="pixels", evaluation__judge_steps=0)


def test_inception_needs_its_weights(tmp_path):
    assert "inception_weights is ''" in refused(evaluation__features="inception")
    path = tmp_path / "weights.npz"
    assert str(path) in refused(evaluation__features="inception", evaluation__inception_weights=str(path))
    path.touch()
    validate(changed(evaluation__features="inception", evaluation__inception_weights=str(path)))


@pytest.mark.parametrize("field", config_module.SPLIT_OVER_DEVICES)
def test_batches_that_do_not_split_over_the_devices(field, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert refused(**{field: 30}) == f"config.{field} is 30: make it a multiple of the 4 devices"
    validate(changed(**{field: 32}))


def test_choose():
    assert choose("a", "x", ("x", "y")) == "x"
    assert choose("a", "x", {"x": 1}) == 1
    with pytest.raises(UserError, match=r"config.a is 'z': choose one of x, y"):
        choose("a", "z", ("x", "y"))
