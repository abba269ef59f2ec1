"""When, by what and on what a stage was done: a page that is made elsewhere still says where its run was made."""

import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import jax

import scoressl_jax


def machine() -> dict:
    """Today's date (UTC), the versions of scoressl_jax and jax, the devices of all processes and this one's cores."""
    devices = jax.devices()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "scoressl_jax": scoressl_jax.__version__,
        "jax": jax.__version__,
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def processor(described: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the CPU, or its kind where the system does not tell."""
    text = described.read_text(errors="replace") if described.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
