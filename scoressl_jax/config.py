"""Every field of an experiment with its default, and which values are allowed.

Files in configs/ start from `default_config()` and change what they need.
"""

import jax.numpy as jnp
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.fields import check_devices, check_names, check_order, check_ranges
from scoressl_jax.losses.objective import UNLABELED_TERMS
from scoressl_jax.models.ncsnpp import PYRAMIDS
from scoressl_jax.models.resnet import STAGES
from scoressl_jax.models.scaling import POSITIONAL, SCALINGS
from scoressl_jax.sampling.predictor_corrector import CORRECTORS, PREDICTORS

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: as the inputs are


def default_config():
    """The main job: a denoising-assisted semi-supervised run on the embedded 8x8 digits, sized for two CPU cores.

    Unknown fields and wrong types are refused by ConfigDict itself; `validate` refuses values.
    """
    config = ConfigDict()
    config.seed = 0
    config.regime = "ssl"  # supervised (labelled images alone), ssl, pu (positive and unlabelled)
    config.dtype = "float32"  # float32, bfloat16: what networks compute in; parameters and sums are always float32

    config.data = ConfigDict(
        dict(
            name="digits",  # digits, npz, folder, or a TFDS image classification set (mnist, svhn_cropped, cifar10 ...)
            path="",  # file of npz, directory of folder, data directory of TFDS ("" is TFDS's own)
            download=False,  # TFDS: download and prepare the set when it is not there
            image_size=0,  # folder: resize to this size, 0 keeps the images' own
            num_labels=100,  # labelled images in all, balanced over classes; 0 keeps every label there is
            labels_file="",  # labelled indices of earlier work, in place of num_labels
            split_seed=0,
            positive_classes=(),  # pu: classes that count as positive
            num_positive=0,  # pu: labelled positives
            class_prior=0.0,  # pu: share of positives among the unlabelled images
        )
    )
    config.sde = ConfigDict(
        dict(
            name="ve",  # ve, vp, subvp
            sigma_min=0.01,
            sigma_max=10.0,  # about the largest distance between two images (Song and Ermon 2020, technique 1)
            beta_min=0.1,
            beta_max=20.0,
        )
    )
    config.score = ConfigDict(
        dict(
            # Weights to take in place of training: run:DIR, score_sde_torch:FILE.pth, score_sde_flax:FILE.
            init_from="",
            network="ncsnpp",  # ncsnpp, mlp
            scaling="gaussian",  # ours; score_sde's are sigma (VE), time (VP, sub-VP), index (VE, discrete levels)
            width=16,  # channels at full resolution; mlp: units a layer
            multipliers=(1, 1),  # ncsnpp: of the width, one a resolution level
            blocks=1,  # residual blocks; ncsnpp: a level
            attention=(),  # ncsnpp: resolutions with attention; the middle always has it
            fir=True,  # ncsnpp: FIR filters where the resolution changes
            pyramid="residual",  # ncsnpp: how the shrunk image enters each level: residual, skip, none
            dropout=0.0,
            embedding=16,
            batch_size=64,
            steps=900,
            learning_rate=4e-3,
            weight_decay=0.0,
            warmup=50,
            clip=1.0,  # global gradient norm
            schedule="cosine",  # constant, cosine
            ema=0.99,
            times="stratified",  # stratified, uniform
            likelihood_weighting=False,
            random_flip=False,
        )
    )
    config.classifier = ConfigDict(
        dict(
            kind="denoising_assisted",  # noisy, denoising_assisted
            network="wide_resnet",  # wide_resnet, resnet, mlp
            depth=10,  # wide_resnet: WRN-depth-widen; resnet: 18, 34
            widen=1,
            norm="group",  # wide_resnet, resnet: group, instance++
            embedding=16,
            width=256,  # mlp: units a layer; resnet: channels of the first stage
            blocks=2,  # mlp
            batch_size=16,  # labelled images a step
            unlabeled_batch_size=32,
            steps=1800,
            learning_rate=6e-3,
            weight_decay=0.05,
            warmup=50,
            clip=1.0,
            schedule="cosine",
            ema=0.99,
            times="stratified",
            random_flip=False,
            # Weight of each term of the objective (losses/objective.py says what they are); 0 leaves it out.
            terms=dict(
                ce=1.0, ce_tau=1.0, dlsm=0.0, pseudo=1.0, pseudo_dlsm=0.0, denoising=0.0, temporal=50.0, prior=0.0
            ),
            tau=0.01,
            threshold=0.8,
            dlsm_power=1.0,
            temporal_delta=0.1,
            temporal_time="shifted",  # shifted (t + delta), same (t)
            temporal_noise="shared",  # shared, fresh
        )
    )
    config.sampling = ConfigDict(
        dict(
            count=500,
            batch_size=128,
            steps=50,
            scale=8.0,  # of the classifier gradient
            predictor="reverse_diffusion",  # reverse_diffusion, euler_maruyama, none
            corrector="none",  # langevin, none
            corrector_steps=1,
            snr=0.16,
        )
    )
    config.evaluation = ConfigDict(
        dict(
            accuracy_t=0.001,
            times=21,  # points of the accuracy curve
            curve_images=1000,  # at most so many test images make the curve
            batch_size=64,  # also of the judge's training
            gradient_t=0.35,  # time of the gradient pictures
            judge_steps=500,  # of the independent judge of samples; 0 leaves class agreement unmeasured
            judge_depth=10,
            judge_widen=1,
            judge_learning_rate=2e-3,
        )
    )
    config.training = ConfigDict(
        dict(steps_per_call=20, checkpoint_every=100, max_rollbacks=0)  # these three never change a result
    )
    return config.lock()


NAMES = {
    "regime": ("supervised", "ssl", "pu"),
    "dtype": tuple(DTYPES),
    "score.scaling": SCALINGS,
    "score.pyramid": PYRAMIDS,
    "score.times": ("stratified", "uniform"),
    "score.schedule": ("constant", "cosine"),
    "classifier.kind": ("noisy", "denoising_assisted"),
    "classifier.norm": ("group", "instance++"),
    "classifier.times": ("stratified", "uniform"),
    "classifier.schedule": ("constant", "cosine"),
    "classifier.temporal_time": ("shifted", "same"),
    "classifier.temporal_noise": ("shared", "fresh"),
    "sampling.predictor": PREDICTORS,
    "sampling.corrector": CORRECTORS,
}
POSITIVE = (
    "score.batch_size",
    "score.steps",
    "score.learning_rate",
    "score.clip",
    "score.width",
    "score.blocks",
    "score.embedding",
    "sde.sigma_min",
    "sde.beta_min",
    "classifier.batch_size",
    "classifier.unlabeled_batch_size",
    "classifier.steps",
    "classifier.learning_rate",
    "classifier.clip",
    "classifier.widen",
    "classifier.width",
    "classifier.blocks",
    "classifier.embedding",
    "sampling.batch_size",
    "sampling.count",
    "evaluation.batch_size",
    "evaluation.times",
    "evaluation.curve_images",
    "training.steps_per_call",
    "training.checkpoint_every",
)
NOT_NEGATIVE = (
    "seed",
    "score.warmup",
    "score.weight_decay",
    "classifier.warmup",
    "classifier.weight_decay",
    "sampling.corrector_steps",
    "evaluation.judge_steps",
    "training.max_rollbacks",
)
BELOW_ONE = ("score.ema", "classifier.ema", "score.dropout")
FRACTIONS = ("evaluation.accuracy_t", "evaluation.gradient_t", "classifier.tau", "classifier.threshold")
SPLIT_OVER_DEVICES = (
    "score.batch_size",
    "classifier.batch_size",
    "classifier.unlabeled_batch_size",
    "sampling.batch_size",
    "evaluation.batch_size",
)


def validate(config):
    """Ranges and names that do not depend on the data, each failure one UserError."""
    check_names(config, NAMES)
    check_ranges(config, POSITIVE, NOT_NEGATIVE, BELOW_ONE, FRACTIONS, at_least_two=("sampling.steps",))
    check_order(config, ("sde.sigma_min", "sde.sigma_max"), ("sde.beta_min", "sde.beta_max"))
    if config.classifier.network == "wide_resnet" and (config.classifier.depth - 4) % 6:
        raise UserError(
            f"config.classifier.depth is {config.classifier.depth}: it must be 6 n + 4 (10, 16, 22, 28 ...)"
        )
    if config.classifier.network == "resnet" and config.classifier.depth not in STAGES:
        raise UserError(f"config.classifier.depth is {config.classifier.depth}: a resnet has 18 or 34")
    validate_scaling(config)
    if config.regime == "pu" and not 0 < config.data.class_prior < 1:
        raise UserError(
            f"config.data.class_prior is {config.data.class_prior}: regime pu needs the share of positives "
            "among the unlabelled images, between 0 and 1"
        )
    validate_terms(config)
    check_devices(config, SPLIT_OVER_DEVICES)


def validate_scaling(config):
    """The networks of score_sde that see a time or an index belong to their processes, and have a U-Net."""
    scaling, processes = config.score.scaling, {"time": ("vp", "subvp"), "index": ("ve",), "sigma": ("ve",)}
    if config.sde.name not in processes.get(scaling, (config.sde.name,)):
        raise UserError(
            f"config.score.scaling is {scaling!r}, for config.sde.name {' or '.join(processes[scaling])}, but that is "
            f"{config.sde.name!r}: change one of them (time is for vp and subvp, gaussian for every process)"
        )
    if scaling in POSITIONAL and config.score.network != "ncsnpp":
        raise UserError(f"config.score.scaling {scaling!r} is for config.score.network ncsnpp: change one of them")


def validate_terms(config):
    terms = config.classifier.terms
    if not any(terms[name] for name in terms):
        raise UserError("every weight in config.classifier.terms is 0: give at least ce a weight")
    if config.regime == "supervised" and any(terms[name] for name in UNLABELED_TERMS):
        used = [name for name in UNLABELED_TERMS if terms[name]]
        raise UserError(
            f"regime supervised has no unlabelled images, but config.classifier.terms weighs {used}: set them to 0"
        )
    if terms.prior and config.regime != "pu":
        raise UserError("config.classifier.terms.prior is for regime pu: set it to 0")
