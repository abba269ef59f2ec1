"""metrics.jsonl and the TensorBoard events of the same numbers, written by the first process alone."""

import json
import sys
from pathlib import Path

import jax

from scoressl_jax.files import write_text


def open_board(folder, purge_step):
    """A TensorBoard writer. Importing tensorboardX imports torch wherever it is installed; it is hidden meanwhile."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None
    from tensorboardX import SummaryWriter

    if hide:
        del sys.modules["torch"]
    return SummaryWriter(str(folder), purge_step=purge_step)


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
        self._board = open_board(Path(workdir) / "logs" / stage, step + 1)

    def write(self, step, seconds, values):
        if not self._writing:
            return
        row = {"stage": self.stage, "step": step, "time": round(self.seconds_before + seconds, 3), **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{self.stage}/{name}", value, step)

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
