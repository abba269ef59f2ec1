"""metrics.jsonl: rows of several stages, resuming, and a line that a kill cut short; TensorBoard's events."""

import json
import struct
import threading

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from scoressl_jax.training.metrics import MetricsLog, read_metrics


def log(workdir, stage, step, *rows):
    metrics = MetricsLog(workdir, stage, step)
    for at, seconds, loss in rows:
        metrics.write(at, seconds, {"loss": loss})
    metrics.close()


def events(folder):
    """Those of the one file in a folder: records of a length, a checksum, the event and a checksum."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_rows_and_events(tmp_path):
    log(tmp_path, "score", 0, (10, 0.5, 3.0), (20, 1.0, 2.0))
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [
        {"stage": "score", "step": 10, "time": 0.5, "loss": 3.0},
        {"stage": "score", "step": 20, "time": 1.0, "loss": 2.0},
    ]
    version, started, *scalars = events(tmp_path / "logs" / "score")
    assert (version.file_version, started.step, started.session_log.status) == ("brain.Event:2", 1, SessionLog.START)
    found = [(e.step, [(v.tag, v.simple_value) for v in e.summary.value]) for e in scalars]
    assert found == [(10, [("score/loss", 3.0)]), (20, [("score/loss", 2.0)])]
    assert started.wall_time <= scalars[0].wall_time <= scalars[1].wall_time


def test_rows_are_on_disk_at_once(tmp_path):
    metrics = MetricsLog(tmp_path, "score", 0)
    metrics.write(10, 0.5, {"loss": 3.0})
    assert [row["step"] for row in read_metrics(tmp_path)] == [10]
    metrics.close()


def test_a_disk_that_is_full_is_said_where_it_is_written_and_never_waited_for(tmp_path, monkeypatch):
    """The events' own file; a thread that wrote them would end in silence, and its queue fill up."""
    before = threading.active_count()
    metrics = MetricsLog(tmp_path, "score", 0)
    assert threading.active_count() == before

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics._board._file, "write_event", full)
    with pytest.raises(OSError, match="No space left"):
        metrics.write(10, 0.5, {"loss": 3.0})
    metrics.close()


def test_events_are_on_disk_while_a_stage_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("scoressl_jax.training.metrics.FLUSHED", 0.0)
    metrics = MetricsLog(tmp_path, "score", 0)
    for step in (10, 20):
        metrics.write(step, 0.5, {"loss": 3.0})
        assert events(tmp_path / "logs" / "score")[-1].step == step
    metrics.close()


def test_resuming_drops_later_rows_of_its_stage_and_time_goes_on(tmp_path):
    log(tmp_path, "score", 0, (10, 0.5, 3.0), (20, 1.0, 2.0), (30, 7.0, 1.5))
    log(tmp_path, "classifier", 0, (10, 0.25, 9.0), (40, 4.0, 8.0))
    log(tmp_path, "score", 20, (30, 0.5, 1.0))
    rows = read_metrics(tmp_path)
    score = [(row["step"], row["time"], row["loss"]) for row in rows if row["stage"] == "score"]
    assert score == [(10, 0.5, 3.0), (20, 1.0, 2.0), (30, 1.5, 1.0)]
    assert [row["step"] for row in rows if row["stage"] == "classifier"] == [10, 40]


def test_starting_anew_drops_the_stage(tmp_path):
    log(tmp_path, "score", 0, (10, 0.5, 3.0))
    log(tmp_path, "score", 0)
    assert read_metrics(tmp_path) == []


def test_a_line_cut_short(tmp_path):
    log(tmp_path, "score", 0, (10, 0.5, 3.0), (20, 1.0, 2.0))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    assert [row["step"] for row in read_metrics(tmp_path)] == [10]
    log(tmp_path, "score", 10, (20, 0.5, 2.0))
    assert [(row["step"], row["time"]) for row in read_metrics(tmp_path)] == [(10, 0.5), (20, 1.0)]
    assert path.read_text().endswith("}\n")


def test_no_file(tmp_path):
    assert read_metrics(tmp_path) == []
