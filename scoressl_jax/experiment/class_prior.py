"""The share of positives among unlabelled images, where a positive-unlabelled run is not told it.

Best bin estimation (Garg et al. 2021, "Mixture Proportion Estimation and PU Learning: A Modern Approach", algorithm 1):
a classifier learns to tell labelled positives from unlabelled images; among images that it has not seen, the share of
unlabelled scores above a threshold, over the share of positive scores above it, is at least the share sought, with
equality where no negative scores so high. Two classifiers, each trained on half of the images, score the other half.
"""

import numpy as np

from scoressl_jax.experiment.data import is_estimated
from scoressl_jax.experiment.judge import Judge, judge_network, measuring_job
from scoressl_jax.training.loop import Job

DELTA, GAMMA = 0.1, 0.01  # the paper's
RESAMPLED = 100  # for the standard error


def best_bin(positive, unlabeled):
    """The share, in [0, 1], from scores `[P]` and `[U]`, higher for what looks positive, of images that the classifier
    was not trained on. The threshold is where an upper confidence bound of the ratio is least."""
    thresholds = np.unique(positive)
    at_least = lambda scores: 1 - np.searchsorted(np.sort(scores), thresholds) / len(scores)  # noqa: E731
    q_p, q_u = at_least(positive), at_least(unlabeled)
    slack = sum(np.sqrt(np.log(4 / DELTA) / (2 * len(scores))) for scores in (positive, unlabeled))
    best = np.argmin((q_u + (1 + GAMMA) * slack) / q_p)
    return float(min(q_u[best] / q_p[best], 1.0))


def resampled_error(positive, unlabeled, rng):
    """Standard error of best_bin: its deviation over scores drawn anew from these, with replacement."""
    again = [
        best_bin(rng.choice(positive, len(positive)), rng.choice(unlabeled, len(unlabeled))) for _ in range(RESAMPLED)
    ]
    return float(np.std(again, ddof=1))


def positive_job(experiment, half: int) -> Job:
    """Labelled positives (1) against unlabelled images (0), half of either, both equally often."""
    data, config, split = experiment.dataset, experiment.config, experiment.split
    positive, unlabeled = split.labeled[half::2], split.unlabeled[half::2]
    most = max(len(positive), len(unlabeled))
    return measuring_job(
        name=f"class_prior_{half}",
        config=config,
        images=data.x_train,
        labels=(experiment.y_visible >= 0).astype(np.int32),
        num_classes=2,
        steps=config.data.prior_steps,
        pool=np.concatenate([np.resize(positive, most), np.resize(unlabeled, most)]),
    )


def halves_scored(work) -> dict:
    """{"positive_0" [P_0], "unlabeled_0" [U_0], ..._1}: log odds of each half by the classifier of the other half."""
    experiment, scores = work.experiment, {}
    x, split, batch = experiment.dataset.x_train, experiment.split, work.config.evaluation.batch_size
    network = judge_network(work.config.evaluation, 2)
    for half in (0, 1):
        classifier = Judge(network, work.params(f"class_prior_{half}"), "labelled positives against unlabelled")
        for name, pool in (("positive", split.labeled), ("unlabeled", split.unlabeled)):
            logits = classifier.outputs(x[pool[1 - half :: 2]], batch)["logits"]
            scores[f"{name}_{1 - half}"] = logits[:, 1] - logits[:, 0]
    return scores


def share(scores: dict, seed: int) -> dict:
    """`scores` of both halves, with "estimate" and its "standard_error"."""
    pairs = [(scores[f"positive_{half}"], scores[f"unlabeled_{half}"]) for half in (0, 1)]
    errors = [resampled_error(*pair, np.random.default_rng(seed)) for pair in pairs]
    estimate = np.mean([best_bin(*pair) for pair in pairs])
    return scores | {"estimate": estimate, "standard_error": np.hypot(*errors) / 2}


def estimate_prior(work) -> None:
    """Make class_prior.npz, and record the estimate; where all labels are known, how far off it is."""
    print("estimating the share of positives among the unlabelled images")
    found = share(halves_scored(work), work.config.seed)
    estimate = float(found["estimate"])
    block = {
        "estimate": estimate,
        "standard_error": float(found["standard_error"]),
        "method": "best bin estimation (Garg et al. 2021), mean of two halves",
    }
    hidden = work.experiment.dataset.y_train[work.experiment.split.unlabeled]
    if (hidden >= 0).all():  # only to measure: training never sees them
        block |= {"true": float(hidden.mean()), "error": estimate - float(hidden.mean())}
    work.run.record(class_prior=block)
    work.run.write_arrays("class_prior", **found)


def class_prior(work) -> float | None:
    """The share that config.data.class_prior gives or, where that is 0, its estimate; None where nothing needs it.
    Before it is estimated, as in --mode=check, a half: it changes no operation."""
    if not is_estimated(work.config):
        return work.config.data.class_prior or None
    return float(work.run.arrays("class_prior").get("estimate", 0.5))
