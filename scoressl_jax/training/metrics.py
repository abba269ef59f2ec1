"""metrics.jsonl and the TensorBoard events of the same numbers, written by the first process alone."""

import json
import sys
import time
from pathlib import Path

import jax

from scoressl_jax.files import write_text

FLUSHED = 30.0  # seconds between two moments when TensorBoard sees what is new


def tensorboard():
    """tensorboardX, which imports torch wherever it is installed; it is hidden meanwhile."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None
    import tensorboardX

    if hide:
        del sys.modules["torch"]
    return tensorboardX


class Board:
    """TensorBoard's events of scalars; what an interrupted run wrote from `purge_step` on is hidden.

    Written at once: tensorboardX's own writer has a thread, which a full disk ends and `add_scalar` then waits for.
    """

    def __init__(self, folder, purge_step):
        board = tensorboard()
        self._event, self._summary = board.proto.event_pb2, board.proto.summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._file = board.event_file_writer.EventsWriter(str(folder / "events"))
        started = self._event.SessionLog(status=self._event.SessionLog.START)
        self._file.write_event(self._event.Event(step=purge_step, wall_time=time.time(), session_log=started))
        self._flush_at = 0.0

    def write(self, step, values):
        pairs = [self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        event = self._event.Event(step=step, wall_time=time.time(), summary=self._summary(value=pairs))
        self._file.write_event(event)
        if time.monotonic() > self._flush_at:
            self._file.flush()
            self._flush_at = time.monotonic() + FLUSHED

    def close(self):
        self._file.close()


class MetricsLog:
    """Appends one object a line: {"stage", "step", "time", name: value ...}; time is seconds of work in the stage.

    Opened at `step`, it drops what an interrupted run logged beyond it, so that a resumed run leaves no doubles.
    """

    def __init__(self, workdir, stage, step):
        self.stage, self.seconds_before = stage, 0.0
        self._writing = jax.process_index() == 0
        if not self._writing:
            return
        path = Path(workdir) / "metrics.jsonl"
        kept = [row for row in read_metrics(workdir) if row["stage"] != stage or row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self.seconds_before = max((row["time"] for row in kept if row["stage"] == stage), default=0.0)
        self._file = path.open("a")
        self._board = Board(Path(workdir) / "logs" / stage, step + 1)

    def write(self, step, seconds, values):
        if not self._writing:
            return
        row = {"stage": self.stage, "step": step, "time": round(self.seconds_before + seconds, 3), **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        self._board.write(step, {f"{self.stage}/{name}": value for name, value in values.items()})

    def close(self):
        if self._writing:
            self._file.close()
            self._board.close()


def read_metrics(workdir):
    """The rows of metrics.jsonl; a last line cut short by a kill is left out."""
    path = Path(workdir) / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
