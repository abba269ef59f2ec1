"""The bar of long measurements: nothing is shown of short ones."""

import time

from scoressl_jax.experiment import progress
from scoressl_jax.experiment.progress import progress_bar


def test_what_is_over_soon_shows_nothing(capsys):
    with progress_bar("likelihood", 8) as bar:
        bar.update(8)
    assert capsys.readouterr().out.strip() == ""


def test_what_takes_longer_shows_how_far_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "QUIET", 0.05)
    with progress_bar("nearest images", 4_000_000, "pair") as bar:
        time.sleep(0.6)
        bar.update(3_000_000)
        bar.update(1_000_000)
    said = capsys.readouterr().out
    assert "nearest images" in said
    assert "4.00M/4.00M" in said
