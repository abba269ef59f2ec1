"""The signals that ask for an end become a flag that long work checks between two compiled calls."""

import os
import signal
import socket
import threading

import jax
import numpy as np

from scoressl_jax.errors import STOPPING, Interrupted, stopping

GRACE = 20.0  # seconds from a signal until the process leaves by itself


class StopSignal:
    """Use as a context manager round a run; `requested()` says whether a signal has arrived, on any process.

    Python runs no handler during a long call into XLA (a compilation), so a thread hears of signals as well: where
    the run has not come to a checkpoint within `grace` seconds, it ends the process. Files are written whole or not
    at all, and nothing has been trained since the last checkpoint but the call under way.

    In a thread of another program, which Python lets hear no signal, it hears none: they are that program's.
    """

    def __init__(self, grace=GRACE):
        self._name = None
        self._grace, self._left = grace, threading.Event()
        self._hears = threading.current_thread() is threading.main_thread()

    def __enter__(self):
        if not self._hears:
            return self
        self._before = {s: signal.signal(s, self._note) for s in stopping()}
        reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._left.set()
        if not self._hears:
            return
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()  # ends the thread
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        self._name = signal.Signals(number).name

    def _watch(self, reader):
        with reader:
            while number := reader.recv(1):
                if number[0] in STOPPING:
                    break
        if number and not self._left.wait(self._grace):
            os.write(2, b"\nscoressl_jax: stopped before the call under way ended; checkpoints are kept: run the same ")
            os.write(2, b"command again to go on\n")
            os._exit(Interrupted.exit_code)

    def requested(self):
        if jax.process_count() == 1:
            return self._name is not None
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.asarray(self._name is not None)).any())

    def check(self):
        """Raise Interrupted if a signal has arrived."""
        if self.requested():
            raise Interrupted(
                f"stopped by {self._name or 'a signal to another process'}; finished stages are kept: "
                "run the same command again"
            )
