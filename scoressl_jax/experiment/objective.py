"""The classifier's objective: its fields of the block `classifier`, and what is built from them."""

from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import FRACTION, NOT_NEGATIVE, Field, one_of
from scoressl_jax.experiment.teacher import NONE
from scoressl_jax.methods.score_ssl import TAUGHT_TERMS, UNLABELED_TERMS, Objective

TERMS = dict(
    ce=Field(1.0, "cross-entropy of labelled images at a random t", NOT_NEGATIVE),
    ce_tau=Field(1.0, "the same at tau", NOT_NEGATIVE),
    dlsm=Field(0.0, "denoising likelihood score matching on labelled images", NOT_NEGATIVE),
    pseudo=Field(1.0, "cross-entropy of unlabelled images with a confident pseudo-label", NOT_NEGATIVE),
    pseudo_dlsm=Field(0.0, "denoising likelihood score matching of the same images", NOT_NEGATIVE),
    denoising=Field(0.0, "consistency of features at x_t and its denoised image", NOT_NEGATIVE),
    temporal=Field(50.0, "consistency of features at two noise levels", NOT_NEGATIVE),
    taught=Field(
        1.0, "teacher: cross-entropy at t of unlabelled images with its labels, in place of pseudo", NOT_NEGATIVE
    ),
    taught_tau=Field(1.0, "the same at tau", NOT_NEGATIVE),
    prior=Field(0.0, "pu: class prior against the mean prediction at tau", NOT_NEGATIVE),
)
FIELDS = dict(
    terms=TERMS,
    tau=Field(0.01, "time of pseudo-labels and of ce_tau", FRACTION),
    denoise_tau=Field(
        True,
        "denoising_assisted: False spares the score network at tau, where denoising changes next to nothing",
    ),
    threshold=Field(0.8, "confidence from which a prediction at tau is a pseudo-label", FRACTION),
    dlsm_power=Field(1.0, "DLSM is weighted by std^(2 power)"),
    temporal_delta=Field(0.1, "temporal: most that std grows between the two noise levels", NOT_NEGATIVE),
    temporal_time=Field("shifted", "temporal: time told of the second view", one_of("shifted", "same")),
    temporal_noise=Field("shared", "temporal: noise of the second view", one_of("shared", "fresh")),
)


def weights_of(config) -> dict:
    """{term: weight} of those that the run has: the teacher's labels, where there is one, in place of pseudo-labels."""
    left_out = TAUGHT_TERMS if config.teacher.method == NONE else ("pseudo",)
    return {name: config.classifier.terms[name] for name in config.classifier.terms if name not in left_out}


def check(config) -> None:
    terms = weights_of(config)
    if not any(terms[name] for name in terms):
        raise UserError("every weight in config.classifier.terms is 0: give at least ce a weight")
    if config.regime == "supervised" and any(terms.get(name) for name in UNLABELED_TERMS):
        used = [name for name in UNLABELED_TERMS if terms.get(name)]
        raise UserError(
            f"regime supervised has no unlabelled images, but config.classifier.terms weighs {used}: set them to 0"
        )
    if terms["prior"] and config.regime != "pu":
        raise UserError("config.classifier.terms.prior is for regime pu: set it to 0")


def build_objective(config, sde, class_prior: float | None = None) -> Objective:
    """`class_prior`: the share of positives among the unlabelled images, where the term `prior` has a weight."""
    c = config.classifier
    return Objective(
        sde=sde,
        weights=weights_of(config),
        times=c.times,
        tau=c.tau,
        threshold=c.threshold,
        dlsm_power=c.dlsm_power,
        temporal_delta=c.temporal_delta,
        temporal_time=c.temporal_time,
        temporal_noise=c.temporal_noise,
        prior=None if class_prior is None else (1 - class_prior, class_prior),
    )
