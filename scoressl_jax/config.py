"""Every field of an experiment with its default, and which values are allowed.

Files in configs/ start from `default_config()` and change what they need.
"""

from pathlib import Path

import jax.numpy as jnp
from ml_collections import ConfigDict

from scoressl_jax.errors import UserError
from scoressl_jax.evaluation.features import FEATURES
from scoressl_jax.evaluation.manifold import INSIDE
from scoressl_jax.fields import check_devices, check_names, check_order, check_ranges
from scoressl_jax.losses.objective import UNLABELED_TERMS
from scoressl_jax.models.ncsnpp import PYRAMIDS
from scoressl_jax.models.resnet import STAGES
from scoressl_jax.models.scaling import POSITIONAL, SCALINGS
from scoressl_jax.sampling.few_steps import SCHEDULES, SOLVERS
from scoressl_jax.sampling.inverse import HIDDEN, TASKS
from scoressl_jax.sampling.loop import PRIORS
from scoressl_jax.sampling.predictor_corrector import CORRECTORS, NORMS, PREDICTORS

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
            sampler="dpm_solver",  # dpm_solver, heun, ddim: few steps; predictor_corrector; ode: adaptive steps
            steps=20,  # all but ode; each is one network call, of heun two, of predictor_corrector 1 + corrections
            schedule="karras",  # dpm_solver, heun, ddim: karras, log_sigma, time
            eta=0.0,  # ddim: 0 is deterministic, 1 ancestral
            clip=False,  # dpm_solver, heun, ddim: keep the denoised image in [0, 1] at every step
            tolerance=1e-4,  # ode
            predictor="reverse_diffusion",  # reverse_diffusion, ancestral, euler_maruyama, none
            corrector="none",  # langevin, annealed_langevin, none
            corrector_steps=1,
            snr=0.16,
            norms="image",  # of langevin's step: image, batch (as the released code: images depend on neighbours)
            scale=8.0,  # of the classifier gradient; 0 is unguided
            interval=(),  # noise levels (std / alpha) between which the gradient acts; () is all
            t_init=1.0,  # time to start from
            prior="gaussian",  # what to start from: gaussian, uniform_gaussian (for t_init below 1)
            # Restore test images in place of drawing new ones: none, inpainting, colorization; not with ode.
            task="none",
            hidden="right",  # inpainting: the half or part that is drawn: right, bottom, center
        )
    )
    config.evaluation = ConfigDict(
        dict(
            accuracy_t=0.001,
            times=21,  # points of the accuracy curve
            curve_images=1000,  # at most so many test images make the curve
            batch_size=64,  # also of the judge's training
            gradient_t=0.35,  # time of the gradient pictures
            likelihood_images=64,  # at most so many test images get their likelihood (bits per dimension); 0: none
            likelihood_tolerance=1e-4,  # of the ODE, relative and absolute
            divergence="hutchinson",  # hutchinson (one random probe an image), exact (as many as there are pixels)
            judge_steps=500,  # of the independent judge of samples; 0 leaves class agreement unmeasured
            judge_depth=10,
            judge_widen=1,
            judge_learning_rate=2e-3,
            # What samples and real images are compared by: judge (its penultimate layer), inception, pixels, none.
            features="judge",
            inception_weights="",  # inception: file of its weights, .pth or .npz
            reference="train",  # real images to compare with: train, test
            k=5,  # nearest neighbours of precision, recall, density, coverage
            convention="prdc",  # of the balls round the points: prdc, guided_diffusion
            cas_steps=300,  # of the classifier trained on samples (classification accuracy score); 0 leaves it out
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
    "sampling.sampler": (*SOLVERS, "predictor_corrector", "ode"),
    "sampling.schedule": SCHEDULES,
    "sampling.predictor": PREDICTORS,
    "sampling.corrector": CORRECTORS,
    "sampling.norms": NORMS,
    "sampling.prior": PRIORS,
    "sampling.task": TASKS,
    "sampling.hidden": tuple(HIDDEN),
    "evaluation.features": FEATURES,
    "evaluation.reference": ("train", "test"),
    "evaluation.convention": tuple(INSIDE),
    "evaluation.divergence": ("hutchinson", "exact"),
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
    "sampling.tolerance",
    "evaluation.batch_size",
    "evaluation.times",
    "evaluation.curve_images",
    "evaluation.likelihood_tolerance",
    "evaluation.k",
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
    "sampling.scale",
    "evaluation.judge_steps",
    "evaluation.cas_steps",
    "evaluation.likelihood_images",
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
    validate_generation(config)
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


def validate_generation(config):
    """What comparing samples with real images needs, where it is asked for and can be done."""
    plan, count = config.evaluation, config.sampling.count
    if plan.features == "inception" and not Path(plan.inception_weights).is_file():
        raise UserError(
            f"config.evaluation.inception_weights is {plan.inception_weights!r}: features inception needs the file of "
            "its weights (README, How good are the samples)"
        )
    measured = plan.features in ("inception", "pixels") or (plan.features == "judge" and plan.judge_steps)
    if measured and count <= plan.k:
        raise UserError(
            f"config.sampling.count is {count}: make it greater than config.evaluation.k, which is {plan.k}, or set "
            "config.evaluation.features=none"
        )


def validate_sampling(sampling):
    if not 0.05 <= sampling.t_init <= 1:
        raise UserError(f"config.sampling.t_init is {sampling.t_init}: it must lie in [0.05, 1]")
    if not 0 <= sampling.eta <= 1:
        raise UserError(f"config.sampling.eta is {sampling.eta}: it must lie in [0, 1]")
    if sampling.interval and not (len(sampling.interval) == 2 and 0 <= sampling.interval[0] < sampling.interval[1]):
        raise UserError(
            f"config.sampling.interval is {tuple(sampling.interval)}: give two noise levels, the lower first, as in "
            "--config.sampling.interval='(0.1, 5.0)', or () for all"
        )
    if sampling.sampler == "ode" and sampling.task != "none":
        raise UserError(f"config.sampling.task {sampling.task} is not for sampler ode: choose one that takes steps")
