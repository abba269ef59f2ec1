"""scoressl reproduced RUN [--peak-tflops=X]: what a run has reached, on what and how fast.

For each stage the steps done, steps per second, and their share of the device's peak; then the figures of results.json.
Run it on the machine that trained. Prints a table and writes the same as RUN/reproduced.json.
"""

import dataclasses
import itertools
import re
import statistics

import jax

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.devices import device_mesh, prepare_jax, use_cores
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.estimate import Rehearsal, flops_of, zeros
from scoressl_jax.experiment.fields import batch_sizes, config_of
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.stages import Kind
from scoressl_jax.files import check_writable
from scoressl_jax.report.groups import COLUMNS, figure
from scoressl_jax.studies.kinds import kind_of
from scoressl_jax.training.loop import Job
from scoressl_jax.training.step import make_multi_update

HOPPER = {"bfloat16": 989.0, "TF32": 494.0, "float32": 67.0}
# TFLOP/s of a device in dense products, from NVIDIA's data sheets; T4 has neither bfloat16 nor TF32.
PEAKS = {
    "H200": HOPPER,
    "H100": HOPPER,
    "A100": {"bfloat16": 312.0, "TF32": 156.0, "float32": 19.5},
    "T4": {"float16": 65.0, "float32": 8.1},
}
SLOWER = {"MIG", "NVL", "PCIe"}  # boards of the same names with peaks of their own, and parts of a device
FULL_PRECISION = ("float32", "highest")  # of jax_default_matmul_precision; with the others XLA takes TF32
FIGURES = ("accuracy", "over all noise", "F1", "class agreement", "judge")
BESIDE = ("class_prior_0", "class_prior_1", "cas")  # trained for a figure alone, and soon


def peak_of(kind: str, dtype: str, precision: str | None) -> tuple | None:
    """(TFLOP/s, what they are computed in) of one device of `kind`, jax's device_kind; None where it is not known.

    `dtype` is config.dtype, `precision` jax_default_matmul_precision.
    """
    words = set(re.split("[ -]", kind))
    known = [PEAKS[name] for name in PEAKS if name in words]
    if not known or words & SLOWER:
        return None
    choices = ("bfloat16", "float16") if dtype == "bfloat16" else ("TF32", "float32")
    if dtype == "float32" and precision in FULL_PRECISION:
        choices = ("float32",)
    computed_in = next(name for name in choices if name in known[0])
    return known[0][computed_in], computed_in


def jobs_of(kind: Kind, config) -> list[Job]:
    """What a config trains, in order, but for what is BESIDE and networks that are taken from elsewhere."""
    experiment = kind.build(config, known=config.to_dict())
    work = Rehearsal(kind, dataclasses.replace(experiment, config=from_nothing(config)))
    wanted = [stage for stage in work.stages() if stage.job and stage.target(experiment) is not None]
    return [stage.job(work) for stage in wanted if stage.name not in BESIDE]


def from_nothing(config):
    """The config without the weights that training begins with: they change no operation, and may be gone by now."""
    config = config.copy_and_resolve_references()
    for block in (config.score, config.classifier):
        block.update({name: nothing for name, nothing in (("init_from", ""), ("warm_start", False)) if name in block})
    return config


def step_flops(job: Job) -> float:
    """Floating-point operations of a training step on all devices, as XLA counts them before it optimises."""
    lowered = make_multi_update(job.update, device_mesh()).lower(
        zeros(job.init_state), job.arrays, job.frozen, job.indices(0, 0, 1), 1, jax.random.key(0)
    )
    return flops_of(lowered)  # it counts the body of the loop over steps once


def steps_per_second(rows: list[dict]) -> float | None:
    """Median over the calls of a stage, rows of metrics.jsonl: compilations and checkpoints are few. None without."""
    rates = [
        (row["step"] - before["step"]) / (row["time"] - before["time"])
        for before, row in itertools.pairwise(rows)
        if row["time"] > before["time"]
    ]
    return statistics.median(rates) if rates else None


def stage_block(run: Run, job: Job, peak_flops: float | None) -> dict:
    rows = [row for row in run.metrics if row["stage"] == job.name]
    block, rate, flops = {"steps": run.steps_done(job.name), "of": job.steps}, steps_per_second(rows), 0.0
    if rows:
        block["seconds"] = rows[-1]["time"]
    if rate:
        flops = step_flops(job)
        block |= {"steps_per_second": rate, "flops_per_step": flops}
    if flops and peak_flops:
        block["share_of_peak"] = flops * rate / peak_flops
    return block


def collect(run: Run, peak_tflops: float | None = None) -> dict:
    """What reproduced.json holds; `peak_tflops` of one device takes the place of the table's."""
    kind = kind_of(run.config)
    config = config_of(run.config, kind.fields)
    prepare_jax()
    use_cores(batch_sizes(config, kind.fields))
    devices = jax.devices()
    device, precision = devices[0].device_kind, jax.config.jax_default_matmul_precision
    known = peak_of(device, config.get("dtype", "float32"), precision)
    peak = (peak_tflops, "as given") if peak_tflops else known
    peak_flops = peak[0] * 1e12 * len(devices) if peak else None
    figures = {COLUMNS[title][1]: figure(run.results, title) for title in FIGURES}
    return {
        "hardware": {"platform": devices[0].platform, "device_kind": device, "devices": len(devices)},
        "peak": {"tflops_per_device": peak[0], "computed_in": peak[1]} if peak else None,
        "stages": {job.name: stage_block(run, job, peak_flops) for job in jobs_of(kind, config)},
        "results": {name: value for name, value in figures.items() if value is not None},
    }


def table(found: dict) -> str:
    hardware, peak = found["hardware"], found["peak"]
    lines = [("hardware", f"{hardware['platform']}, {hardware['devices']} x {hardware['device_kind']}")]
    if peak:
        lines.append(("peak", f"{peak['tflops_per_device']:g} TFLOP/s a device ({peak['computed_in']})"))
    else:
        lines.append(("peak", "not known of this device, so no share of it: give it with --peak-tflops"))
    for name, block in found["stages"].items():
        parts = [f"{block['steps']:,} of {block['of']:,} steps"]
        if "steps_per_second" in block:
            parts.append(f"{block['steps_per_second']:,.4g} steps/s")
            parts.append(f"{block['flops_per_step'] / 1e9:,.4g} GFLOP a step")
        if "share_of_peak" in block:
            parts.append(f"{block['share_of_peak']:.2%} of the peak")
        lines.append((name, ", ".join(parts)))
    lines += [(name, f"{value:.4f}") for name, value in found["results"].items()]
    return "\n".join(f"{name:<20}{text}" for name, text in lines)


def main(argv: list) -> int:
    parser = Parser("scoressl reproduced", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="directory of the run")
    parser.add_argument("--peak-tflops", type=float, metavar="X", help="peak of one device, in 10^12 operations/s")
    options = parser.parse_args(argv)
    if options.peak_tflops is not None and not 0 < options.peak_tflops < float("inf"):
        parser.error(f"--peak-tflops={options.peak_tflops}: it must be greater than 0")
    run = Run.open(options.run)
    try:
        check_writable(run.workdir)  # before minutes of compiling
    except OSError as error:
        raise UserError(f"{run.workdir} cannot be written ({error.strerror}): copy the run to where it can") from None
    found = collect(run, options.peak_tflops)
    run.write("reproduced.json", found)
    print(table(found))
    return 0
