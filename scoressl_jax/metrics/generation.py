"""How good samples are: every figure that compares them with real images, over all and class by class."""

import numpy as np

from scoressl_jax.errors import UserError
from scoressl_jax.metrics.frechet import Moments, frechet_distance
from scoressl_jax.metrics.inception_score import inception_score
from scoressl_jax.metrics.kernel import kernel_distance
from scoressl_jax.metrics.manifold import precision_recall

BIASED_BELOW = 10_000  # images: FID then is higher than that of many images by an amount that depends on the count
BIAS = "FID is too high with fewer than 10,000 images on either side: compare only figures of the same counts"
FIGURES = {  # name before any @: (title, which direction is good, what it is)
    "fid": ("FID", "lower", "Fréchet distance between Gaussians fitted to the features: fidelity and variety at once"),
    "sfid": ("sFID", "lower", "the same of features that keep positions: where things are"),
    "kid": ("KID", "lower", "squared MMD, a distance of sets of features: real draws have 0, balanced classes less"),
    "kid_sd": ("KID sd", "", "standard deviation of KID over random subsets"),
    "is": ("IS", "higher", "inception score: each sample certain, all together varied; real images play no part"),
    "precision": ("precision", "higher", "share of samples that lie among real images: fidelity"),
    "recall": ("recall", "higher", "share of real images that lie among samples: variety"),
    "density": ("density", "higher", "how many real neighbourhoods hold a sample, about 1 for real images: fidelity"),
    "coverage": ("coverage", "higher", "share of real images with a sample in their neighbourhood: variety"),
    "cas": ("CAS", "higher", "classification accuracy score: on real images, of a classifier trained on samples alone"),
}


def compare_samples(features, real, samples, class_names, *, k, convention, seed=0):
    """(block `generation` of results.json, warnings) of samples against real images.

    `features` is an Extractor; `real` and `samples` are (images uint8 [N, H, W, C], labels int [N] or None). @N in a
    name is the number of samples. Where both have labels, there are figures class by class: without images of label
    -1, and without classes that have k or fewer images of either kind, which the warnings name. Raises UserError for
    features that are not finite, and for k or fewer images.
    """
    for what, (images, _) in {"real images": real, "samples": samples}.items():
        if len(images) <= k:
            raise UserError(f"{len(images)} {what}: k={k} nearest neighbours need more; give more images or a lower k")
    outputs = [features.outputs(images) for images, _ in (real, samples)]
    pools, count = [found["pool"] for found in outputs], len(samples[0])
    block = {"features": features.name, "count": count, "reference_count": len(real[0])}
    block[f"fid@{count}"] = fid(*pools)
    if "spatial" in outputs[0]:
        block[f"sfid@{count}"] = fid(*(found["spatial"] for found in outputs))
    block[f"kid@{count}"], block[f"kid_sd@{count}"] = kernel_distance(*pools, seed=seed)
    if "logits" in outputs[1]:
        block[f"is@{count}"] = inception_score(outputs[1]["logits"])[0]
    block |= precision_recall(*pools, k, convention) | {"k": k, "convention": convention}
    warnings = [BIAS] if min(count, len(real[0])) < BIASED_BELOW else []
    if real[1] is not None and samples[1] is not None:
        classwise, left_out = compare_classes(pools, (real[1], samples[1]), class_names, k, convention)
        block |= classwise
        if left_out:
            warnings.append(f"left out class by class, for want of more than {k} images: {', '.join(left_out)}")
    return block, warnings


def fid(real, samples):
    """Fréchet distance of features [N, D] and [M, D]."""
    a, b = Moments().add(real), Moments().add(samples)
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def compare_classes(pools, labels, class_names, k, convention):
    """({"classwise": {class name: figures}, "classwise_mean": figures}, what was left out, in words).

    FID of a class is there where either side has more images than features. The mean is over the classes measured, of
    the figures that all of them have, each class counting the same (Chao et al. 2022).
    """
    rows, left_out = {}, []
    for c, name in enumerate(class_names):
        real, samples = (pool[of == c] for pool, of in zip(pools, labels, strict=True))
        fewer = min(len(real), len(samples))
        if fewer <= k:
            left_out.append(f"{name} ({len(real)} real, {len(samples)} samples)")
            continue
        rows[name] = {"count": len(samples), **precision_recall(real, samples, k, convention)}
        if fewer > real.shape[1]:
            rows[name][f"fid@{len(samples)}"] = fid(real, samples)
    if not rows:
        return {}, left_out
    common = [key for key in next(iter(rows.values())) if key != "count" and all(key in row for row in rows.values())]
    mean = {key: float(np.mean([row[key] for row in rows.values()])) for key in common}
    return {"classwise": rows, "classwise_mean": mean}, left_out


def described(block):
    """Rows (title, value, good direction, what it is) of the figures that a block `generation` holds."""
    found = [(*key.partition("@"), value) for key, value in block.items()]
    return [
        (f"{FIGURES[name][0]}{at}{count}", value, *FIGURES[name][1:])
        for name, at, count, value in found
        if name in FIGURES
    ]
