"""The share of positives among unlabelled images, where a positive-unlabelled run is not told it.

Best bin estimation (Garg et al. 2021, "Mixture Proportion Estimation and PU Learning: A Modern Approach", algorithm 1):
a classifier learns to tell labelled positives from unlabelled images; among images that it has not seen, the share of
unlabelled scores above a threshold, over the share of positive scores above it, is at least the share sought, with
equality where no negative scores so high. Two classifiers, each trained on half of the images, score the other half.
"""

import numpy as np

from scoressl_jax.experiment import jobs
from scoressl_jax.experiment.judge import Judge, judge_network
from scoressl_jax.experiment.runs import train_stage
from scoressl_jax.files import write_npz

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
    again = [best_bin(rng.choice(positive, len(positive)), rng.choice(unlabeled, len(unlabeled)))
             for _ in range(RESAMPLED)]
    return float(np.std(again, ddof=1))


def halves_scored(run):
    """{"positive_0" [P_0], "unlabeled_0" [U_0], ..._1}: log odds of each half by the classifier of the other half."""
    experiment, scores = run.experiment, {}
    x, split, batch = experiment.dataset.x_train, experiment.split, run.config.evaluation.batch_size
    for half in (0, 1):
        params, _ = train_stage(run, jobs.positive_job(experiment, half))
        classifier = Judge(judge_network(run.config.evaluation, 2), params, "labelled positives against unlabelled")
        for name, pool in (("positive", split.labeled), ("unlabeled", split.unlabeled)):
            logits = classifier.outputs(x[pool[1 - half :: 2]], batch)["logits"]
            scores[f"{name}_{1 - half}"] = logits[:, 1] - logits[:, 0]
    return scores


def share(scores, seed):
    """`scores` of both halves, with "estimate" and its "standard_error"."""
    pairs = [(scores[f"positive_{half}"], scores[f"unlabeled_{half}"]) for half in (0, 1)]
    errors = [resampled_error(*pair, np.random.default_rng(seed)) for pair in pairs]
    estimate = np.mean([best_bin(*pair) for pair in pairs])
    return scores | {"estimate": estimate, "standard_error": np.hypot(*errors) / 2}


def is_estimated(config):
    """Whether a term needs the class prior and the config does not give it."""
    return bool(config.classifier.terms.prior) and not config.data.class_prior


def class_prior(run):
    """The share that config.data.class_prior gives or, where that is 0, its estimate, kept in class_prior.npz and
    recorded; None where no term needs it."""
    if not is_estimated(run.config):
        return run.config.data.class_prior or None
    path = run.workdir / "class_prior.npz"
    if path.exists():
        with np.load(path) as file:
            found = dict(file)
    else:
        print("estimating the share of positives among the unlabelled images")
        found = share(halves_scored(run), run.config.seed)
        if run.first_process:
            write_npz(path, **found)
    estimate = float(found["estimate"])
    block = {
        "estimate": estimate,
        "standard_error": float(found["standard_error"]),
        "method": "best bin estimation (Garg et al. 2021), mean of two halves",
    }
    hidden = run.experiment.dataset.y_train[run.experiment.split.unlabeled]
    if (hidden >= 0).all():  # only to measure: training never sees them
        block |= {"true": float(hidden.mean()), "error": estimate - float(hidden.mean())}
    run.record(class_prior=block)
    return estimate
