"""Every field of an experiment with its default; validation.py says which values are allowed.

Files in configs/ start from `default_config()` and change what they need.
"""

import jax.numpy as jnp
from ml_collections import ConfigDict

DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: as the inputs are
SPLIT_OVER_DEVICES = (
    "score.batch_size",
    "classifier.batch_size",
    "classifier.unlabeled_batch_size",
    "sampling.batch_size",
    "evaluation.batch_size",
)


def default_config():
    """The main job: a denoising-assisted semi-supervised run on the embedded 8x8 digits, sized for two CPU cores.

    Unknown fields and wrong types are refused by ConfigDict itself; `validate` refuses values.
    """
    config = ConfigDict()
    config.preset = ""  # as --config.preset says, for files in configs/ that have several
    config.seed = 0
    config.regime = "ssl"  # supervised (labelled images alone), ssl, pu (positive and unlabelled)
    config.dtype = "float32"  # float32, bfloat16: what networks compute in; parameters and sums are always float32

    config.data = ConfigDict(
        dict(
            name="digits",  # digits, npz, folder, or a TFDS image classification set (mnist, svhn_cropped, cifar10 ...)
            # File of npz, or directory of its parts; directory of folder; data directory of TFDS ("" is TFDS's own).
            path="",
            download=False,  # TFDS: download and prepare the set when it is not there
            image_size=0,  # folder: resize to this size, 0 keeps the images' own
            num_labels=100,  # labelled images in all, balanced over classes; 0 keeps every label there is
            labels_file="",  # labelled indices of earlier work, in place of num_labels
            split_seed=0,
            positive_classes=(),  # pu: classes that count as positive
            num_positive=0,  # pu: labelled positives
            class_prior=0.0,  # pu: share of positives among the unlabelled images; 0 estimates it
            prior_steps=300,  # of each of the two classifiers that estimate it
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
            patch=1,  # ncsnpp: pixels of patches this wide are channels; 2 makes a step about four times cheaper
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
            patch=1,  # wide_resnet, resnet: as score.patch
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
            random_shift=0,  # move each image by up to so many pixels, up or down and left or right
            random_affine=0.0,  # rotate, zoom and shear each: entries of the map up to so much from the identity's
            # Weight of each term of the objective (losses/objective.py says what they are); 0 leaves it out.
            terms=dict(
                ce=1.0, ce_tau=1.0, dlsm=0.0, pseudo=1.0, pseudo_dlsm=0.0, denoising=0.0, temporal=50.0, prior=0.0
            ),
            tau=0.01,
            # denoising_assisted: False spares the score network at tau, where denoising changes next to nothing.
            denoise_tau=True,
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
            interval=(),  # noise levels (std / alpha, of images in [0, 1]) between which the gradient acts; () is all
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
            judge_patch=1,  # as score.patch
            judge_learning_rate=2e-3,
            judge_noise=0.2,  # std of the noise on its training images, which helps where few are there to learn from
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
