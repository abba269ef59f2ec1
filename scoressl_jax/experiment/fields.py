"""Checks of config values that every experiment shares; each failure is one UserError."""

import jax

from scoressl_jax.errors import UserError


def get(config, field):
    """The value of a dotted field."""
    for part in field.split("."):
        config = config[part]
    return config


def choose(what, name, options):
    """The entry of `options`, a dict or a tuple of names, that config.`what` names; a UserError lists them."""
    if name not in options:
        raise UserError(f"config.{what} is {name!r}: choose one of {', '.join(options)}")
    return options[name] if isinstance(options, dict) else name


def check_names(config, names):
    """`names`: {field: allowed names}."""
    for field, allowed in names.items():
        choose(field, get(config, field), allowed)


def check_ranges(config, positive=(), not_negative=(), below_one=(), fractions=(), at_least_two=()):
    """Each argument names the fields whose values must lie in the range that it is called after."""
    ranges = (
        (positive, lambda value: value > 0, "be greater than 0"),
        (not_negative, lambda value: value >= 0, "be 0 or more"),
        (below_one, lambda value: 0 <= value < 1, "lie in [0, 1)"),
        (fractions, lambda value: 0 < value <= 1, "lie in (0, 1]"),
        (at_least_two, lambda value: value >= 2, "be 2 or more"),
    )
    for fields, allowed, words in ranges:
        for field in fields:
            if not allowed(get(config, field)):
                raise UserError(f"config.{field} is {get(config, field)}: it must {words}")


def check_order(config, *pairs):
    """Each pair names a field and one that must be greater."""
    for low, high in pairs:
        if not get(config, low) < get(config, high):
            raise UserError(f"config.{high} is {get(config, high)}: it must be greater than config.{low}")


def usable_cores(config, fields, cores):
    """The largest number of devices up to `cores` that divides every batch size; `fields` names these."""
    sizes = [get(config, field) for field in fields]
    return max((n for n in range(1, cores + 1) if all(size % n == 0 for size in sizes)), default=1)


def check_devices(config, fields):
    devices = jax.device_count()
    for field in fields:
        if get(config, field) % devices:
            raise UserError(f"config.{field} is {get(config, field)}: make it a multiple of the {devices} devices")
