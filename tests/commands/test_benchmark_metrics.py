"""The benchmark of metrics runs and says what it measured."""

import pytest

from scoressl_jax.__main__ import main


def test_a_row_a_metric_and_the_total(capsys):
    assert main(["benchmark", "metrics", "60", "8"]) == 0
    header, columns, *rows = capsys.readouterr().out.splitlines()
    assert header.startswith("60 real images and as many samples, 8 features")
    assert columns.split() == ["metric", "value", "seconds", "CPU", "s", "peak", "GiB"]
    seconds = {row[:12].strip(): float(row.split()[-3]) for row in rows}
    assert list(seconds) == ["FID", "KID", "IS", "P, R, D, C", "total"]
    total = seconds.pop("total")
    assert total == pytest.approx(sum(seconds.values()), abs=0.3)
