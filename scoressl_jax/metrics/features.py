"""What images are compared by: a judge's penultimate layer, Inception-v3, or the pixels themselves."""

from dataclasses import dataclass
from typing import Any

from scoressl_jax.metrics.inception import inception_features
from scoressl_jax.metrics.samples import flatten
from scoressl_jax.weights.inception import read_inception

FEATURES = ("judge", "inception", "pixels", "none")


@dataclass(frozen=True)
class Extractor:
    """`name` says in words what extracts; `outputs(images uint8 [N, H, W, C])` is {"pool" [N, D]} and, where there
    are such, "logits" [N, K] and "spatial" [N, S]."""

    name: str
    outputs: Any


def extractor(features, judge, weights, batch):
    """The Extractor that `features`, one of FEATURES, names; None for none, and where there is no judge to ask.

    `judge`: a Judge or None. `weights`: the file of Inception's; a UserError where it cannot be read.
    """
    if features == "inception":
        params = read_inception(weights)
        return Extractor("Inception-v3 of 2015-12-05", lambda images: inception_features(params, images, batch))
    if features == "pixels":
        return Extractor("pixels", lambda images: {"pool": flatten(images)})
    if features == "judge" and judge is not None:
        return Extractor(f"judge: {judge.name}", lambda images: judge.outputs(images, batch))
    return None
