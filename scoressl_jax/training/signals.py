"""SIGTERM and SIGINT become a flag that long work checks between two compiled calls."""

import signal

import jax
import numpy as np

from scoressl_jax.errors import Interrupted


class StopSignal:
    """Use as a context manager round a run; `requested()` says whether a signal has arrived, on any process."""

    def __init__(self):
        self._name = None

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        self._name = signal.Signals(number).name

    def requested(self):
        if jax.process_count() == 1:
            return self._name is not None
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.asarray(self._name is not None)).any())

    def check(self, done="finished stages are kept"):
        """Raise Interrupted if a signal has arrived."""
        if self.requested():
            raise Interrupted(
                f"stopped by {self._name or 'a signal to another process'}; {done}: run the same command again"
            )
