"""Runs in this process: stripes in an .npz, the smallest networks, a second a stage once they are compiled."""

from pathlib import Path

import numpy as np

from scoressl_jax.main import main

ROOT = Path(__file__).resolve().parent.parent
ROW, COLUMN = np.indices((8, 8))
STRIPES = 200 * np.stack([ROW % 2, COLUMN % 2, (ROW + COLUMN) % 2])[..., None]
NUMBERS = {
    "score": dict(schedule="constant", width=8, steps=20),
    "classifier": dict(schedule="constant", width=8, steps=20, kind="noisy"),
    "classifier.terms": dict(ce=1.0, ce_tau=0.0, pseudo=0.0, temporal=0.0),
    "data": dict(name="npz", num_labels=30),
    "sampling": dict(count=12, sampler="ddim", steps=2, corrector="none"),
    "evaluation": dict(features="pixels", k=1, judge_depth=4, judge_steps=4, cas_steps=4, batch_size=16, times=2),
    "training": dict(checkpoint_every=10),
}
FLAGS = tuple(f"--config.{part}.{name}={value}" for part, fields in NUMBERS.items() for name, value in fields.items())
QUICK = {  # compiler options: several times faster, to slower programs
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def stripes(labels=60, seed=0):
    """{x_train, y_train, x_test, y_test}: 60 and 15 noisy images of three classes, the first ones with labels."""
    rng, y = np.random.default_rng(seed), np.arange(75, dtype=np.int32) % 3
    x = (STRIPES[y] + rng.integers(0, 50, (75, 8, 8, 1))).astype(np.uint8)
    return dict(x_train=x[:60], y_train=np.where(np.arange(60) < labels, y[:60], -1), x_test=x[60:], y_test=y[60:])


def command(workdir, *flags, path=None):
    """The exit code of the program; `path`: the .npz of a run that is new or whose config is given anew."""
    given = (f"--config={ROOT}/tests/tiny.py", *FLAGS, f"--config.data.path={path}") if path else ()
    return main([*given, f"--workdir={workdir}", *flags])
