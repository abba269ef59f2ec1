"""What is kept of the machine that a stage was done on."""

import datetime
import re

import jax

import scoressl_jax
from scoressl_jax.experiment.machine import machine, processor


def test_a_machine_says_when_by_what_and_on_what():
    found = machine()
    assert abs((datetime.date.fromisoformat(found["date"]) - datetime.datetime.now(datetime.UTC).date()).days) <= 1
    assert (found["scoressl_jax"], found["jax"]) == (scoressl_jax.__version__, jax.__version__)
    assert (found["platform"], found["devices"]) == (jax.devices()[0].platform, jax.device_count())
    assert found["cores"] >= 1
    assert found.keys() == {"date", "scoressl_jax", "jax", "platform", "device", "devices", "processor", "cores"}


def test_a_processor_has_a_name(tmp_path):
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz \nflags\t: fpu\nmodel name\t: Some CPU\n")
    assert processor(told) == "Some CPU @ 2 GHz"
    told.write_text("nothing of the kind\n")
    assert re.fullmatch(r"\w.*", processor(told))
    assert processor(tmp_path / "absent")
