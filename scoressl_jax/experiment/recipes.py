"""What the experiments of a paper have in common. Files in configs/ add data and labels, and say what differs.

Each function changes a config in place. What is called ours, or not stated, is our choice where the paper says nothing;
fields that no function names keep default_config's values.
"""

from scoressl_jax.experiment.teacher import ALL_METHODS, LABELS_ALONE


def choose(config, preset, presets):
    """Apply the function of `presets` that the preset names."""
    if preset not in presets:
        raise ValueError(f"preset {preset!r}: choose {' or '.join(presets)}")
    config.preset = preset
    presets[preset](config)


def ncsnpp(config, blocks, steps, multipliers=(1, 2, 2, 2), attention=(16,), random_flip=False):
    """NCSN++ continuous, variance-exploding, trained as the released configuration for CIFAR-10 (Song et al. 2021)."""
    config.sde.sigma_max = 50.0
    score = config.score
    score.update(scaling="sigma", width=128, multipliers=multipliers, blocks=blocks, attention=attention, dropout=0.1)
    score.update(batch_size=128, steps=steps, learning_rate=2e-4, warmup=5000, schedule="constant", ema=0.999)
    score.update(embedding=128, times="uniform", random_flip=random_flip)
    config.training.checkpoint_every = 5000


def cifar10_score(config):
    """The deep one, 107,587,075 parameters."""
    ncsnpp(config, blocks=8, steps=950_001, random_flip=True)


def svhn_score(config):
    """62,758,915 parameters, as in Sastry et al.; training ours: no flips, which change digits, and fewer steps."""
    ncsnpp(config, blocks=4, steps=300_000)


def mnist_score(config):
    """43,984,385 parameters: 28x28 images can be halved twice, so three levels; ours, as svhn_score."""
    ncsnpp(config, blocks=4, steps=300_000, multipliers=(1, 2, 2), attention=(14,))


def wrn_28_2(config, steps, learning_rate, weight_decay):
    """The classifier of Sastry et al. 2022 and 2023 and its AdamW. Ours: average of the weights, no warm-up.

    Noise embedding as in score_sde's classifier; the 1.5M parameters that they state are those of the rest.
    """
    classifier = config.classifier
    classifier.update(depth=28, widen=2, embedding=128, times="uniform", ema=0.999, warmup=0)
    classifier.update(steps=steps, learning_rate=learning_rate, weight_decay=weight_decay, schedule="constant")
    predictor_corrector(config)
    config.sampling.count = 100  # ours
    judge(config, steps=10_000, depth=16)


def semi_supervised(config):
    """Batches and pseudo-labels of both papers of Sastry et al."""
    config.classifier.update(batch_size=64, unlabeled_batch_size=192, threshold=0.95, tau=0.01)


def score_ssl(config, steps):
    """Score-SSL (Sastry et al. 2022, section 3): a noisy classifier with every term of theirs.

    Weights of terms are not stated: 1. Their consistencies are L2 distances of 128 features, ours average over them,
    hence 128. DLSM is weighted as released by Chao et al. 2022, whom the paper follows: lambda(t) = 1.
    """
    wrn_28_2(config, steps, learning_rate=1e-3, weight_decay=5e-4)
    semi_supervised(config)
    classifier = config.classifier
    classifier.update(kind="noisy", norm="instance++", dlsm_power=0.0, temporal_delta=0.01, temporal_time="same")
    classifier.terms.update(ce_tau=0.0, dlsm=1.0, pseudo_dlsm=1.0, denoising=128.0, temporal=128.0)
    config.sampling.scale = 4.0


def denoising_assisted(config, steps):
    """Semi-supervised denoising-assisted classifier (Sastry et al. 2023, section 4); weights as in score_ssl."""
    wrn_28_2(config, steps, learning_rate=3e-4, weight_decay=0.05)
    semi_supervised(config)
    config.classifier.update(kind="denoising_assisted", temporal_delta=0.1, temporal_time="shifted")
    config.classifier.terms.temporal = 128.0
    config.sampling.scale = 1.0


def all_labels(config, kind, steps=150_000):
    """Cross-entropy on every label of CIFAR-10 with a noisy or denoising-assisted classifier (2023, section 3)."""
    wrn_28_2(config, steps, learning_rate=3e-4, weight_decay=0.05)
    config.regime, config.data.num_labels = "supervised", 0
    config.classifier.update(kind=kind, batch_size=512, random_flip=True)  # flips are ours
    config.classifier.terms.update(ce_tau=0.0, pseudo=0.0, temporal=0.0)
    config.sampling.update(count=50_000, scale=1.0)
    judge(config, steps=20_000, depth=28)


def dlsm(config, depth, steps, warmup):
    """Cross-entropy and DLSM on every label with a ResNet, as the released program (Chao et al. 2022).

    The paper has a batch of 100. Batch normalisation is group normalisation here (models/resnet.py).
    """
    config.regime, config.data.num_labels = "supervised", 0
    classifier = config.classifier
    classifier.update(kind="noisy", network="resnet", depth=depth, width=64, embedding=32, times="uniform", ema=0.0)
    classifier.update(batch_size=150, steps=steps, learning_rate=2e-4, weight_decay=0.0, warmup=warmup)
    classifier.update(schedule="constant", dlsm_power=0.0)  # lambda(t) = 1
    classifier.terms.update(ce_tau=0.0, dlsm=1.0, pseudo=0.0, temporal=0.0)
    predictor_corrector(config)
    config.sampling.update(count=50_000, batch_size=100, scale=1.0)
    judge(config, steps=20_000, depth=28)


def predictor_corrector(config):
    """The papers' sampler: 1,000 steps of reverse diffusion, each after a Langevin correction, 2,000 network calls."""
    config.sampling.update(sampler="predictor_corrector", steps=1000, corrector="langevin")


def judge(config, steps, depth):
    """The independent classifier that names the classes of samples: ours. k as in the program of Chao et al. 2022.

    The classification accuracy score trains another as long, where there are samples enough to learn from.
    """
    config.evaluation.update(batch_size=128, judge_steps=steps, judge_depth=depth, judge_widen=2, k=3)
    config.evaluation.cas_steps = steps if config.sampling.count >= 10_000 else 0


# For two CPU cores, ours


def small(config, score_steps, classifier_steps):
    """Networks and training that suit small images and little time; docs/experiments.md says what was tried.

    The score network keeps the full resolution, without which it learns slowly; the classifier does without it.
    """
    score, classifier = config.score, config.classifier
    score.update(width=16, multipliers=(1, 1), batch_size=16, steps=score_steps)
    score.update(learning_rate=4e-3, warmup=100, ema=0.995)
    classifier.update(depth=10, widen=1, patch=2, batch_size=16, unlabeled_batch_size=32, steps=classifier_steps)
    classifier.update(learning_rate=8e-3, warmup=100, ema=0.99, threshold=0.9, denoise_tau=False)
    classifier.terms.temporal = 0.0  # docs/experiments.md
    config.sampling.count = 1000
    config.evaluation.update(judge_depth=10, judge_widen=2, judge_patch=2, reference="test")
    config.evaluation.update(times=11, curve_images=500, likelihood_images=0)


def few_samples(config):
    """What ten minutes leave time to draw and to measure."""
    config.sampling.count = 300
    config.evaluation.cas_steps = 0


def small_mnist(config, score_steps, classifier_steps, judge_steps):
    small(config, score_steps, classifier_steps)
    config.sde.sigma_max = 16.0  # the largest distance between two training images
    config.classifier.update(random_shift=2, random_affine=0.2)
    config.sampling.scale = 16.0
    config.evaluation.judge_steps = judge_steps


def mnist_cpu(config):
    """An hour at most."""
    small_mnist(config, score_steps=6000, classifier_steps=11_000, judge_steps=3000)


def mnist_fast(config):
    """Ten minutes."""
    small_mnist(config, score_steps=1000, classifier_steps=900, judge_steps=600)
    few_samples(config)


def teacher(config, steps, **fields):
    """Mean Teacher on strongly augmented clean images, ours: docs/experiments.md says what was tried."""
    config.teacher.update(method="mean_teacher", steps=steps, **fields)
    config.classifier.threshold = 0.8  # the default: there are no pseudo-labels


def paper_teacher(config, method):
    """A method as its paper, or the benchmark that ran them all alike (USB), has it: WRN-28-2, SGD, a million steps."""
    teacher = config.teacher
    teacher.update(method=method, depth=28, widen=2, batch_size=64, steps=2**20, flip=True)
    if method not in LABELS_ALONE:
        teacher.shift = 0.125
    teacher.update(optimizer="sgd", learning_rate=0.03, weight_decay=5e-4, schedule="cosine_7_16", warmup=0, ema=0.999)
    teacher.update(strong="rand_augment", cutout=0.5)
    fields = {f"teacher.{name}": value for name, value in ALL_METHODS[method].PAPER.items()}
    config.update_from_flattened_dict(fields)
    config.classifier.threshold = 0.8  # the default: there are no pseudo-labels


def digits_taught(config):
    """The main job, in the time that it takes without a teacher."""
    teacher(config, steps=800)
    config.classifier.steps = 1200


def mnist_taught(config):
    """Ten minutes: mnist_fast under a teacher, whose labels take the place of pseudo-labels."""
    mnist_fast(config)
    teacher(config, steps=3000, patch=2, widen=2, ema=0.998)


def small_cifar10(config, score_steps, classifier_steps, judge_steps):
    """No claim to a paper's figure: networks are a thousandth of theirs."""
    small(config, score_steps, classifier_steps)
    config.sde.sigma_max = 50.0
    config.score.random_flip = True
    config.classifier.update(widen=2, random_flip=True, random_shift=2, learning_rate=4e-3)
    config.sampling.count = 500
    config.evaluation.update(judge_steps=judge_steps, judge_noise=0.05, judge_learning_rate=6e-3)


def small_cifar10_ssl(config, **steps):
    small_cifar10(config, **steps)
    config.classifier.update(batch_size=32, unlabeled_batch_size=16)  # docs/experiments.md


def cifar10_cpu(config):
    """About an hour."""
    small_cifar10_ssl(config, score_steps=8000, classifier_steps=6000, judge_steps=4000)


def cifar10_fast(config):
    """Ten minutes."""
    small_cifar10_ssl(config, score_steps=1200, classifier_steps=900, judge_steps=800)
    few_samples(config)


def cifar10_taught(config):
    """Twenty minutes: cifar10_fast under a teacher. With hundreds of labels a class these are half of its batches."""
    cifar10_fast(config)
    teacher(config, steps=4000, patch=2, widen=2, ema=0.998, flip=True, batch_size=64, unlabeled_batch_size=64)
    config.teacher.mean_teacher.weight = 10.0


def small_score_ssl(config, steps):
    """What score_ssl has of its own, on a small network; cross-entropy at tau stays, without which it learns slowly."""
    config.classifier.update(kind="noisy", steps=steps)
    config.classifier.terms.update(dlsm=1.0, pseudo_dlsm=1.0, denoising=50.0, temporal=50.0)


def small_all_labels(config, kind):
    """Cross-entropy on every label with a noisy or denoising-assisted classifier."""
    config.regime, config.data.num_labels = "supervised", 0
    config.classifier.update(kind=kind, batch_size=64)
    config.classifier.terms.update(ce_tau=0.0, pseudo=0.0)
    config.evaluation.curve_images = 2000  # accuracy by noise level is what the two are compared by


# The same with denoising-assisted and noisy classifiers


def mnist_all_labels(config, preset, kind):
    def paper(config):
        mnist_score(config)
        all_labels(config, kind, steps=100_000)
        config.classifier.random_flip = False  # flips change digits

    def cpu(config):
        small_mnist(config, score_steps=6000, classifier_steps=2000, judge_steps=3000)
        small_all_labels(config, kind)

    choose(config, preset, {"paper": paper, "cpu": cpu})


def cifar10_all_labels(config, preset, kind):
    def paper(config):
        cifar10_score(config)
        all_labels(config, kind)

    def cpu(config):
        small_cifar10(config, score_steps=8000, classifier_steps=3000, judge_steps=4000)
        small_all_labels(config, kind)

    choose(config, preset, {"paper": paper, "cpu": cpu})
