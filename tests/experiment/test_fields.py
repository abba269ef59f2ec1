"""Fields: what each check refuses and lets through, whatever the field."""

import ast
import json
import math

import jax
import pytest
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.experiment import fields
from scoressl_jax.experiment.config import CHOICES, FIELDS, default_config
from scoressl_jax.experiment.fields import Field, Option, one_of
from scoressl_jax.files import flat
from scoressl_jax.studies.moons.config import FIELDS as MOONS_FIELDS

SMALL = dict(
    seed=Field(0, "a seed", fields.NOT_NEGATIVE),
    kind=Field("round", "a shape", one_of("round", "square")),
    part=dict(size=Field(8, "how large", fields.POSITIVE, per_device=True), share=Field(0.5, "how much", fields.SHARE)),
)


def refusal(check, *arguments):
    """The one line of a UserError."""
    with pytest.raises(UserError) as error:
        check(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def small(**values):
    config = fields.config_from(SMALL)
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in values.items()})
    return config


# Rules


@pytest.mark.parametrize(
    ("rule", "inside", "outside", "words"),
    [
        (fields.POSITIVE, (1e-9, 1, 7), (0, -1), "be greater than 0"),
        (fields.NOT_NEGATIVE, (0, 0.0, 3), (-1, -1e-9), "be 0 or more"),
        (fields.BELOW_ONE, (0, 0.999), (1, -0.1, 1.5), "lie in [0, 1)"),
        (fields.FRACTION, (1e-9, 1), (0, -0.1, 1.1), "lie in (0, 1]"),
        (fields.SHARE, (0, 0.5, 1), (-0.1, 1.1), "lie in [0, 1]"),
        (fields.AT_LEAST_TWO, (2, 9), (1, 0, -2), "be 2 or more"),
        (fields.ANY, (-1, "", ()), (), ""),
        (one_of("a", "b"), ("a", "b"), ("c", ""), "be one of a, b"),
    ],
)
def test_rules(rule, inside, outside, words):
    assert [rule.holds(value) for value in inside] == [True] * len(inside)
    assert [rule.holds(value) for value in outside] == [False] * len(outside)
    assert rule.words == words


# Configs


def test_unknown_fields_and_wrong_types_are_refused_by_the_config_itself():
    config = small()
    assert config.to_dict() == {"seed": 0, "kind": "round", "part": {"size": 8, "share": 0.5}}
    with pytest.raises((AttributeError, KeyError)):
        config.part.sise = 3
    with pytest.raises(TypeError):
        config.part.size = "many"


def test_a_field_that_is_newer_than_a_run_is_what_runs_had_before_it():
    newer = {**SMALL, "way": Field("new", "of two", one_of("old", "new"), before="old"), "more": Field(3, "later")}
    stored = {"seed": 5, "kind": "square", "part": {"size": 2, "share": 0.25}}
    found = fields.config_of(stored, newer)
    assert found.to_dict() == {**stored, "way": "old", "more": 3}
    assert fields.config_of({**stored, "way": "new"}, newer).way == "new"
    with pytest.raises((AttributeError, KeyError)):
        found.wey = "old"


@pytest.mark.parametrize("stored", [{"sead": 1}, {"part": {"size": "many"}}, {"part": 3}])
def test_a_stored_config_that_is_not_known(stored):
    assert "restore it" in refusal(fields.config_of, stored, SMALL)


def test_get_reads_dotted_names_of_configs_and_dicts():
    assert fields.get(small(part__size=4), "part.size") == 4
    assert fields.get({"part": {"size": 4}}, "part.size") == 4
    assert fields.get(small(), "seed") == 0


def test_choose():
    assert fields.choose("a", "x", ("x", "y")) == "x"
    assert fields.choose("a", "x", {"x": 1}) == 1
    with pytest.raises(UserError, match=r"config.a is 'z': choose one of x, y"):
        fields.choose("a", "z", ("x", "y"))


# Checks of values


def test_every_field_is_checked_by_its_rule():
    fields.check_values(small(), SMALL)
    assert refusal(fields.check_values, small(seed=-1), SMALL) == "config.seed is -1: it must be 0 or more"
    found = refusal(fields.check_values, small(part__size=0), SMALL)
    assert found == "config.part.size is 0: it must be greater than 0"
    assert refusal(fields.check_values, small(part__share=1.5), SMALL).endswith("it must lie in [0, 1]")
    found = refusal(fields.check_values, small(kind="oval"), SMALL)
    assert found == "config.kind is 'oval': choose one of round, square"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("declared", [FIELDS, MOONS_FIELDS], ids=["images", "moons"])
def test_numbers_that_are_not_finite(declared, value):
    numbers = [name for name, field in flat(declared) if isinstance(field.default, float)]
    assert len(numbers) > 10
    for name in numbers:
        config = fields.config_from(declared)
        config.update_from_flattened_dict({name: value})
        found = refusal(fields.check_values, config, declared)
        assert found == f"config.{name} is {value}: it must be a finite number"


def test_order():
    config = ConfigDict(dict(low=1, part=dict(high=2)))
    fields.check_order(config, ("low", "part.high"))
    for high in (1, 0):
        config.part.high = high
        found = refusal(fields.check_order, config, ("low", "part.high"))
        assert found == f"config.part.high is {high}: it must be greater than config.low"


# Fields that another option reads


def another(value):
    """A value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return value + (1,) if isinstance(value, tuple) else f"{value}x"


@pytest.mark.parametrize("selector", CHOICES)
def test_a_field_of_another_option_is_refused_and_of_its_own_accepted(selector):
    options, defaults = CHOICES[selector], dict(flat(FIELDS))
    every = {name for option in options.values() for name in option.fields}
    assert every, selector
    refused = 0
    for chosen, option in options.items():
        for name in every:
            config = default_config()
            config.update_from_flattened_dict({selector: chosen})
            fields.check_ignored(config, FIELDS, {selector: options})
            config.update_from_flattened_dict({name: another(defaults[name].default)})
            if name in option.fields:
                fields.check_ignored(config, FIELDS, {selector: options})
                continue
            refused += 1
            found = refusal(fields.check_ignored, config, FIELDS, {selector: options})
            assert found.startswith(f"config.{name} is {another(defaults[name].default)!r}, but config.{selector} ")
            assert f"config.{selector} {chosen} does not read it" in found
            assert f"leave it at {defaults[name].default!r}" in found
            takers = [other for other in options if name in options[other].fields]
            assert found.endswith(f"or choose {' or '.join(takers)}")
    assert refused


def test_what_every_option_reads_is_never_refused():
    options = {"round": Option(int, ("part.size", "seed")), "square": Option(int, ("part.size",))}
    config = small(kind="square", part__size=4)
    fields.check_ignored(config, SMALL, {"kind": options})
    assert "config.seed is 3, but config.kind square" in refusal(
        fields.check_ignored, small(kind="square", seed=3), SMALL, {"kind": options}
    )


# Batches over devices


def test_batches_that_devices_share():
    assert fields.batch_sizes(small(part__size=6), SMALL) == [6]
    shared = {name for name, field in flat(FIELDS) if field.per_device}
    assert shared == {
        "score.batch_size", "classifier.batch_size", "classifier.unlabeled_batch_size", "sampling.batch_size",
        "evaluation.batch_size", "teacher.batch_size", "teacher.unlabeled_batch_size",
    }  # fmt: skip
    config = default_config()
    for size, name in enumerate(sorted(shared), 100):
        config.update_from_flattened_dict({name: size})
    assert sorted(fields.batch_sizes(config, FIELDS)) == [100, 101, 102, 103, 104, 105, 106]
    of_moons = {name for name, field in flat(MOONS_FIELDS) if field.per_device}
    assert of_moons == {"score.batch_size", "classifier.batch_size", "sampling.count"}


def test_a_batch_that_the_devices_cannot_share(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    fields.check_devices(small(part__size=8), SMALL)
    found = refusal(fields.check_devices, small(part__size=6), SMALL)
    assert found == "config.part.size is 6: make it a multiple of the 4 devices"


# Help


@pytest.mark.parametrize("declared", [FIELDS, MOONS_FIELDS], ids=["images", "moons"])
def test_help_tells_every_field_with_its_default_its_meaning_and_what_it_may_be(declared):
    said, known = dict(fields.described(declared)), dict(flat(declared))
    assert len(said) == len(known)
    for line, text in said.items():
        flag, _, default = line.partition("=")
        field = known.pop(flag.removeprefix("--config."))
        told = ast.literal_eval(default) if isinstance(field.default, str | tuple | bool) else json.loads(default)
        assert told == field.default
        assert field.meaning
        assert text.startswith(field.meaning)
        assert not field.allowed.words or text.endswith(f"[{field.allowed.words.removeprefix('be ')}]")
        assert all(name in text for name in field.allowed.names)
    assert not known
