"""Seconds and memory of every metric of generated images, on random features as large as those of a real evaluation.

COUNT images of either kind with DIM features and 1,008 logits each, float32. Prints a row a metric: its value, seconds,
seconds of all cores together, and the process's peak memory so far.
"""

import resource
import sys
import time

import numpy as np

from scoressl_jax.metrics.frechet import Moments, frechet_distance
from scoressl_jax.metrics.inception_score import inception_score
from scoressl_jax.metrics.kernel import kernel_distance
from scoressl_jax.metrics.manifold import precision_recall

RANK, CLASSES = 32, 1008


def random_features(count: int, dimension: int, *, seed: int, spread: float = 1.0) -> np.ndarray:
    """Float32 `[count, dimension]`, a plane of RANK dimensions and a little noise; the plane is the same for all."""
    plane = 0.1 * np.random.default_rng(0).standard_normal((RANK, dimension), np.float32)
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, dimension), np.float32)
    features *= 0.03
    for start in range(0, count, 1000):
        rows = features[start : start + 1000]
        rows += spread * rng.standard_normal((len(rows), RANK), np.float32) @ plane
    return features


def peak_gib() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def main(count: int, dimension: int) -> int:
    real = random_features(count, dimension, seed=1)
    samples = random_features(count, dimension, seed=2, spread=0.9)
    logits = 3 * np.random.default_rng(3).standard_normal((count, CLASSES), np.float32)

    def fid():
        first, second = Moments().add(real), Moments().add(samples)
        return frechet_distance(first.mean, first.covariance, second.mean, second.covariance)

    metrics = {
        "FID": lambda: f"{fid():.4f}",
        "KID": lambda: "{:.5f} +- {:.5f}".format(*kernel_distance(real, samples)),
        "IS": lambda: f"{inception_score(logits)[0]:.4f}",
        "P, R, D, C": lambda: " ".join(f"{value:.3f}" for value in precision_recall(real, samples).values()),
    }
    print(f"{count} real images and as many samples, {dimension} features, float32")
    print(f"{'metric':<12}{'value':>26}{'seconds':>10}{'CPU s':>10}{'peak GiB':>10}")
    started, cpu_started = time.perf_counter(), time.process_time()
    for name, metric in metrics.items():
        begun, cpu_begun = time.perf_counter(), time.process_time()
        value = metric()
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
        print(f"{name:<12}{value:>26}{seconds:>10.1f}{cpu:>10.1f}{peak_gib():>10.2f}", flush=True)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    print(f"{'total':<12}{'':>26}{seconds:>10.1f}{cpu:>10.1f}{peak_gib():>10.2f}")
    return 0
