"""python -m scoressl_jax.reproduced DIR [--peak-tflops X]: what the run in DIR has reached, on what and how fast.

For each stage the steps done, steps per second, and their share of the device's peak; then the figures of results.json.
Run it on the machine that trained. Prints a table and writes the same as DIR/reproduced.json.
"""

import itertools
import re
import statistics
import sys
from pathlib import Path

import jax

from scoressl_jax.commands.arguments import Parser
from scoressl_jax.commands.compare import COLUMNS, figure
from scoressl_jax.devices import device_mesh
from scoressl_jax.errors import UserError, one_line
from scoressl_jax.experiment import build, jobs
from scoressl_jax.experiment.estimate import flops_of, zeros
from scoressl_jax.experiment.run_files import read_file
from scoressl_jax.files import write_json
from scoressl_jax.main import config_of_run, prepare_jax, use_cores
from scoressl_jax.training.checkpoints import Checkpoints
from scoressl_jax.training.metrics import read_metrics
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


def peak_of(kind, dtype, precision):
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


def jobs_of(config):
    """The training jobs of a config in order, without what only measures samples (cas) or the class prior."""
    if config.data.name == "moons":
        from scoressl_jax.studies.moons import jobs as moons
        from scoressl_jax.studies.moons.config import LOSSES

        study = moons.build(config)
        score = moons.score_job(study)
        score_params = zeros(score.init_state).params
        return [score, *(moons.classifier_job(study, loss, score_params) for loss in LOSSES)]
    experiment = build.build(config)
    score = jobs.score_job(experiment)
    # Any class prior will do: it changes no operation.
    found = [jobs.classifier_job(experiment, zeros(score.init_state).params, class_prior=0.5)]
    if not config.score.init_from:
        found.insert(0, score)
    if jobs.can_judge(experiment):
        found.append(jobs.judge_job(experiment))
    return found


def step_flops(job):
    """Floating-point operations of a training step on all devices, as XLA counts them before it optimises."""
    lowered = make_multi_update(job.update, device_mesh()).lower(
        zeros(job.init_state), job.arrays, job.frozen, job.indices(0, 0, 1), 1, jax.random.key(0)
    )
    return flops_of(lowered)  # it counts the body of the loop over steps once


def steps_per_second(rows):
    """Median over the calls of a stage, rows of metrics.jsonl: compilations and checkpoints are few. None without."""
    rates = [
        (row["step"] - before["step"]) / (row["time"] - before["time"])
        for before, row in itertools.pairwise(rows)
        if row["time"] > before["time"]
    ]
    return statistics.median(rates) if rates else None


def steps_done(workdir, stage):
    """Step of the newest checkpoint, from which a run goes on."""
    folder = workdir / "checkpoints" / stage
    return (Checkpoints(folder).latest_step() or 0) if folder.exists() else 0


def stage_block(workdir, job, peak_flops):
    rows = [row for row in read_metrics(workdir) if row["stage"] == job.name]
    block, rate, flops = {"steps": steps_done(workdir, job.name), "of": job.steps}, steps_per_second(rows), 0.0
    if rows:
        block["seconds"] = rows[-1]["time"]
    if rate:
        flops = step_flops(job)
        block |= {"steps_per_second": rate, "flops_per_step": flops}
    if flops and peak_flops:
        block["share_of_peak"] = flops * rate / peak_flops
    return block


def collect(workdir, peak_tflops=None):
    """What reproduced.json holds; `peak_tflops` of one device takes the place of the table's."""
    if not (workdir / "config.json").exists():
        raise UserError(f"{workdir} holds no run: name the directory of one")
    config = config_of_run(workdir)
    prepare_jax()
    use_cores(config)
    devices = jax.devices()
    kind, precision = devices[0].device_kind, jax.config.jax_default_matmul_precision
    peak = (peak_tflops, "as given") if peak_tflops else peak_of(kind, config.dtype, precision)
    peak_flops = peak[0] * 1e12 * len(devices) if peak else None
    results = read_file(workdir / "results.json")
    figures = {COLUMNS[title][1]: figure(results, title) for title in FIGURES}
    return {
        "hardware": {"platform": devices[0].platform, "device_kind": kind, "devices": len(devices)},
        "peak": {"tflops_per_device": peak[0], "computed_in": peak[1]} if peak else None,
        "stages": {job.name: stage_block(workdir, job, peak_flops) for job in jobs_of(config)},
        "results": {name: value for name, value in figures.items() if value is not None},
    }


def table(found):
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


def main(argv):
    parser = Parser("python -m scoressl_jax.reproduced", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", metavar="DIR", type=Path, help="directory of the run")
    parser.add_argument("--peak-tflops", type=float, metavar="X", help="peak of one device, in 10^12 operations/s")
    try:
        options = parser.parse_args(argv)
        if options.peak_tflops is not None and not 0 < options.peak_tflops < float("inf"):
            parser.error(f"--peak-tflops={options.peak_tflops}: it must be greater than 0")
        found = collect(options.run, options.peak_tflops)
        write_json(options.run / "reproduced.json", found)
    except UserError as error:
        print(f"scoressl_jax: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
