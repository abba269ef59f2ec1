import signal
import subprocess
import sys
import time

import pytest

from scoressl_jax.errors import Interrupted
from scoressl_jax.training.signals import StopSignal

BUSY = """
import ctypes
from scoressl_jax.training.signals import StopSignal
with StopSignal(grace={grace}):
    print("ready", flush=True)
    {work}
    print("left", flush=True)
"""
# As while XLA compiles: no Python handler runs until the call returns.
IN_C = "ctypes.CDLL(None).system(b'exec sleep 15 > /dev/null 2>&1')"
IN_PYTHON = "__import__('time').sleep(1.5)"


def run_and_terminate(work, grace):
    code = BUSY.format(grace=grace, work=work)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - started


def test_a_long_call_into_c_does_not_keep_the_process():
    code, out, err, seconds = run_and_terminate(IN_C, 1.0)
    assert code == 75
    assert seconds < 10
    assert "left" not in out
    assert "run the same command again" in err


def test_work_that_ends_in_time_is_left_to_end():
    code, out, err, _ = run_and_terminate(IN_PYTHON, 30.0)
    assert (code, out, err) == (0, "left\n", "")


def test_check_raises_after_a_signal_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        stop.check()
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested()
        with pytest.raises(Interrupted, match="SIGTERM"):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before
