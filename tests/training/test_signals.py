import signal
import subprocess
import sys
import threading
import time

import pytest

from scoressl_jax.errors import STOPPING, Interrupted
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


def run_and_terminate(work, grace, number=signal.SIGTERM, before=()):
    """`before`: the words of a program that starts it."""
    code = BUSY.format(grace=grace, work=work)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([*before, sys.executable, "-c", code], **pipes)
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.monotonic() - started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_long_call_into_c_does_not_keep_the_process(number):
    code, out, err, seconds = run_and_terminate(IN_C, 1.0, number)
    assert code == 75
    assert seconds < 10
    assert "left" not in out
    assert "run the same command again" in err


def test_work_that_ends_in_time_is_left_to_end():
    code, out, err, _ = run_and_terminate(IN_PYTHON, 30.0)
    assert (code, out, err) == (0, "left\n", "")


def test_under_nohup_a_terminal_that_closes_stops_nothing():
    nohup = ("sh", "-c", "trap '' HUP; exec \"$0\" \"$@\"")
    code, out, err, _ = run_and_terminate(IN_C.replace("15", "3"), 0.1, signal.SIGHUP, nohup)
    assert (code, out, err) == (0, "left\n", "")


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_check_raises_after_a_signal_and_handlers_are_put_back(number):
    before = {n: signal.getsignal(n) for n in STOPPING}
    with StopSignal() as stop:
        stop.check()
        signal.raise_signal(number)
        assert stop.requested()
        with pytest.raises(Interrupted, match=f"stopped by {number.name}"):
            stop.check()
    assert {n: signal.getsignal(n) for n in STOPPING} == before


def test_the_signals_are_those_of_people_schedulers_and_terminals():
    assert set(STOPPING) == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


def test_in_a_thread_of_another_program_it_hears_none():
    before, ended = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopSignal() as stop:
            stop.check()
            ended.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [before]
