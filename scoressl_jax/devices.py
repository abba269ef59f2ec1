"""The mesh of devices and its shardings, padded batches, and preparing jax, which commands do and imports never."""

import contextlib
import ctypes
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import absl.logging
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scoressl_jax.errors import UserError, one_line
from scoressl_jax.files import check_writable, path_of

# The mesh


def device_mesh() -> Mesh:
    """One axis, `data`, over all devices of all processes."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def by_image(mesh: Mesh) -> NamedSharding:
    """Arrays `[B, ...]` split over the devices by their first axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def padded(part: np.ndarray, size: int) -> np.ndarray:
    """`[n, ...]` filled up to `[size, ...]` by repeating its last entry."""
    return np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])


def batched(fn: Callable, batch: int, *arrays: np.ndarray, progress: Callable = lambda count: None):
    """fn over arrays `[N, ...]` in padded batches of one size, so that it compiles once; what it returns (an array
    `[batch, ...]` or a tree of them) is joined to `[N, ...]`. `progress` is told how many entries each batch has."""
    outputs = []
    for start in range(0, len(arrays[0]), batch):
        parts = [array[start : start + batch] for array in arrays]
        count = len(parts[0])
        found = fn(*(padded(part, batch) for part in parts))
        outputs.append(jax.tree.map(lambda values, count=count: np.asarray(values)[:count], found))
        progress(count)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)


# Preparing jax


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks: on CPU, XLA's temporaries then are not paged in anew at every step (1.2x)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL("libc.so.6").mallopt
            for parameter, value in ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**31 - 1)):  # trim, top pad, mmap thresholds
                mallopt(parameter, value)


def usable_cores(batch_sizes: Sequence[int], cores: int) -> int:
    """The largest number of devices up to `cores` that divides every batch size."""
    return max((n for n in range(1, cores + 1) if all(size % n == 0 for size in batch_sizes)), default=1)


def use_cores(batch_sizes: Sequence[int]) -> None:
    """Make each CPU core a device, so that a batch of small images is split over them: about 2x on two cores.

    A device then computes on its own thread (no threads inside operations), with threads to spare for collectives.
    Left alone where the user set the number of devices, and for groups of processes. No effect on GPU and TPU.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "host_platform_device_count" not in flags and not distributed():
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        devices = usable_cores(batch_sizes, cores)
        with contextlib.suppress(RuntimeError):  # a notebook that has used jax keeps the devices it has
            jax.config.update("jax_num_cpu_devices", devices)
        if devices > 1:
            os.environ.setdefault("NPROC", str(2 * devices))
        if devices == cores and "multi_thread_eigen" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"
    check_devices()


def check_devices() -> None:
    """A UserError where jax finds none of the devices that it is told to use."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter says nothing
        asked, why = jax.config.jax_platforms, f" ({one_line(error)[:200]})" if str(error) else ""
        raise UserError(
            f"JAX_PLATFORMS is {asked!r}, but there is no such device here, or no jax for it{why}: unset it, set it to "
            "cpu, or install what it needs (extras gpu and tpu)"
        ) from None


def distributed() -> bool:
    return "JAX_COORDINATOR_ADDRESS" in os.environ or os.environ.get("JAX_DISTRIBUTED") == "1"


def whole_number(name: str, least: int) -> int:
    """The environment variable `name` as a number of `least` or more."""
    text = os.environ.get(name, "")
    if not text.isdecimal() or int(text) < least:
        raise UserError(
            f"{name} is {text!r}: with JAX_COORDINATOR_ADDRESS set, it must be a whole number of {least} or more"
        )
    return int(text)


def prepare_jax() -> None:
    """Persistent compilation cache (JAX_COMPILATION_CACHE_DIR moves it), and several processes as one if asked for.

    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID name a group of processes; JAX_DISTRIBUTED=1 lets
    jax find out by itself (Cloud TPU, SLURM).
    """
    if jax.config.jax_disable_jit:
        raise UserError("JAX_DISABLE_JIT is set, but nothing here runs without being compiled: unset it")
    jax.config.update("jax_enable_x64", False)  # a run computes in config.dtype, whatever else is done on the machine
    keep_freed_memory()
    only_our_lines()
    use_cache()
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        count, index = whole_number("JAX_NUM_PROCESSES", 1), whole_number("JAX_PROCESS_ID", 0)
        if index >= count:
            raise UserError(f"JAX_PROCESS_ID is {index}: it must be below JAX_NUM_PROCESSES, which is {count}")
        jax.distributed.initialize(os.environ["JAX_COORDINATOR_ADDRESS"], count, index)
    elif os.environ.get("JAX_DISTRIBUTED") == "1":
        jax.distributed.initialize()


def only_our_lines() -> None:
    """Keep from stderr what libraries say there: orbax and its tasks of a slow disk, and of what they raise as well;
    matplotlib and jax of a cache that they do without, Pillow of odd headers of images that it can read."""
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    warnings.filterwarnings("ignore", module=r"PIL\.")


def use_cache() -> None:
    """Keep compiled programs, where there is a place for them."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "scoressl_jax" / "xla"
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(own))
    if folder and "://" not in folder:  # jax itself knows how to write to gs://
        try:
            folder = str(path_of(folder))
            check_writable(Path(folder))
        except (OSError, UserError):  # there is no home, or nothing can be written there
            folder = None
    jax.config.update("jax_compilation_cache_dir", folder or None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
