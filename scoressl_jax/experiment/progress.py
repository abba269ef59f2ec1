"""A bar on the terminal for what has no training loop: it appears only where the work takes more than a few seconds."""

import sys

import jax
from tqdm import tqdm

QUIET = 2.0  # seconds


def progress_bar(what: str, total: int, unit: str = "image") -> tqdm:
    """A context whose `update(count)` moves on, from the first process alone."""
    return tqdm(
        desc=what,
        total=total,
        unit=unit,
        unit_scale=total >= 1_000_000,
        file=sys.stdout,
        delay=QUIET,
        mininterval=0.5,
        disable=jax.process_index() > 0,
    )
