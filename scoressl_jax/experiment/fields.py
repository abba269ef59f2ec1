"""What a field of a config is: its default, what it means, which values it may have; and the checks that follow.

A block of fields stands beside what is built from it (process.py, networks.py, samplers.py ...); config.py puts the
blocks together. Each failed check is one UserError.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.files import flat


@dataclass(frozen=True)
class Rule:
    """`words` end the sentence "it must ..."; `names` are the values of a field that is a choice."""

    words: str
    holds: Callable = lambda value: True
    names: tuple = ()


def one_of(*names: str) -> Rule:
    return Rule(f"be one of {', '.join(names)}", lambda value: value in names, names)


ANY = Rule("")
POSITIVE = Rule("be greater than 0", lambda value: value > 0)
NOT_NEGATIVE = Rule("be 0 or more", lambda value: value >= 0)
BELOW_ONE = Rule("lie in [0, 1)", lambda value: 0 <= value < 1)
FRACTION = Rule("lie in (0, 1]", lambda value: 0 < value <= 1)
SHARE = Rule("lie in [0, 1]", lambda value: 0 <= value <= 1)
AT_LEAST_TWO = Rule("be 2 or more", lambda value: value >= 2)


def is_whole(value: object) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Field:
    """One field. `per_device`: a batch size, which every device takes an equal part of. `free`: it never changes a
    result. `before`: what runs had that are older than the field, where it is not the default; a function of their
    fields, {dotted name: value}, where that depends on them."""

    default: object
    meaning: str
    allowed: Rule = ANY
    per_device: bool = False
    free: bool = False
    before: object = None


@dataclass(frozen=True)
class Option:
    """One value of a field that is a choice: `make(...)` builds what it names; `fields`, dotted, are those that it
    reads and that some other value of the choice leaves unread."""

    make: Callable
    fields: tuple = ()


def config_from(fields: dict) -> ConfigDict:
    """A locked ConfigDict of the defaults: unknown fields and wrong types are refused by itself."""

    def defaults(block):
        return {name: defaults(part) if isinstance(part, dict) else part.default for name, part in block.items()}

    return ConfigDict(defaults(fields)).lock()


def config_of(values: dict, fields: dict) -> ConfigDict:
    """The config that a run's config.json holds; a field that is newer than the run is what runs had before it."""
    config, known = config_from(fields), dict(flat(values))
    try:
        config.update(values)
        config.update_from_flattened_dict({n: v for n, v in had_before(fields, known).items() if n not in known})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"config.json holds what this version does not know ({one_line(error)}): restore it") from None
    return config


def had_before(fields: dict, values: dict) -> dict:
    """{name: value} of every field in runs that are older than it; `values`: the fields that the run has, dotted."""
    found = {n: f.before(values) if callable(f.before) else f.before for n, f in flat(fields)}
    return {n: f.default if found[n] is None else found[n] for n, f in flat(fields)}


def get(config: ConfigDict | dict, field: str):
    """The value of a dotted field."""
    for part in field.split("."):
        config = config[part]
    return config


def choose(what: str, name: str, options):
    """The entry of `options`, a dict or a tuple of names, that config.`what` names; a UserError lists them."""
    if name not in options:
        raise UserError(f"config.{what} is {name!r}: choose one of {', '.join(options)}")
    return options[name] if isinstance(options, dict) else name


def check_values(config: ConfigDict, fields: dict) -> None:
    """Every field by its own rule."""
    for name, field in flat(fields):
        value = get(config, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config.{name} is {value}: it must be a finite number")
        if isinstance(value, bool) and not isinstance(field.default, bool):
            raise UserError(f"config.{name} is {value}: it must be a number")
        if field.allowed.names:
            choose(name, value, field.allowed.names)
        elif not field.allowed.holds(value):
            raise UserError(f"config.{name} is {value}: it must {field.allowed.words}")


def check_order(config: ConfigDict, *pairs: tuple) -> None:
    """Each pair names a field and one that must be greater."""
    for low, high in pairs:
        if not get(config, low) < get(config, high):
            raise UserError(f"config.{high} is {get(config, high)}: it must be greater than config.{low}")


def check_ignored(config: ConfigDict, fields: dict, choices: dict, known: dict | None = None) -> None:
    """Refuse a field that is set, but that the option chosen does not read. choices: {field: {value: Option}}.

    known: the fields of the run that there is already, which may hold such values."""
    defaults, had = dict(flat(fields)), {name: as_read(value) for name, value in flat(known or {})}
    for selector, options in choices.items():
        chosen = get(config, selector)
        read = set(options[chosen].fields)
        for name in dict.fromkeys(f for option in options.values() for f in option.fields if f not in read):
            value = get(config, name)
            if value != defaults[name].default and had.get(name) != as_read(value):
                takers = [str(value) for value, option in options.items() if name in option.fields]
                raise UserError(
                    f"config.{name} is {get(config, name)!r}, but config.{selector} {chosen} does not read it: leave "
                    f"it at {defaults[name].default!r}, or choose {' or '.join(takers)}"
                )


def leave_behind(config: ConfigDict, fields: dict, choices: dict, given: set) -> None:
    """Where the command line makes another choice than the config file, what the file set for the file's own choice
    goes back to its default. given: the fields that the command line names."""
    defaults = dict(flat(fields))
    for selector, options in choices.items():
        if selector in given:
            read = set(options[get(config, selector)].fields) if get(config, selector) in options else set()
            others = {f for option in options.values() for f in option.fields} - read - given
            config.update_from_flattened_dict({name: defaults[name].default for name in others})


def as_read(value):
    """A value as config.json gives it back."""
    return list(value) if isinstance(value, tuple) else value


def batch_sizes(config: ConfigDict, fields: dict) -> list[int]:
    """Every batch that is split over the devices."""
    return [get(config, name) for name, field in flat(fields) if field.per_device]


def check_devices(config: ConfigDict, fields: dict) -> None:
    devices = jax.device_count()
    for name, field in flat(fields):
        if field.per_device and get(config, name) % devices:
            raise UserError(f"config.{name} is {get(config, name)}: make it a multiple of the {devices} devices")


def described(fields: dict) -> Iterator[tuple[str, str]]:
    """(field with its default, meaning and allowed values) of every field, as the command line writes them."""
    for name, field in flat(fields):
        words = f" [{field.allowed.words.removeprefix('be ')}]" if field.allowed.words else ""
        default = repr(field.default) if isinstance(field.default, str | tuple) else field.default
        yield f"--config.{name}={default}", field.meaning + words
