"""The block `sampling`: samplers with the fields that each reads, the guided score, and what is asked of samples."""

import math
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.fields import AT_LEAST_TWO, NOT_NEGATIVE, POSITIVE, SHARE, Field, Option, one_of
from scoressl_jax.sampling.few_steps import SCHEDULES, SOLVERS, calls, few_steps, ladder
from scoressl_jax.sampling.inverse import HIDDEN, colorization, inpainting, mask_of
from scoressl_jax.sampling.loop import PRIORS
from scoressl_jax.sampling.predictor_corrector import (
    CORRECTORS,
    NORMS,
    PREDICTORS,
    moves_per_step,
    predictor_corrector,
)

LONG = 100  # network calls from which the progress bar also moves within a batch of samples

# A sampler is `(keys, score_fn, sde, shape, *, fields by their names, project, progress, trace) -> x [B, *shape]`.


def ode(keys, score_fn, sde, shape, *, project=None, progress=None, trace=False, **fields):
    from scoressl_jax.sampling.ode import ode_sampler  # its library takes a second to import

    del project, progress  # it has no steps of its own to tell or to correct
    if trace:
        raise UserError("sampler ode has steps of each image's own: for a trajectory choose one that takes steps")
    return ode_sampler(keys, score_fn, sde, shape, **fields)


def dotted(*names: str) -> tuple:
    return tuple(f"sampling.{name}" for name in names)


LADDER = dotted("steps", "schedule", "clip")
SAMPLERS = {
    "dpm_solver": Option(partial(few_steps, solver="dpm_solver"), LADDER),
    "heun": Option(partial(few_steps, solver="heun"), LADDER),
    "ddim": Option(partial(few_steps, solver="ddim"), (*LADDER, *dotted("eta"))),
    "predictor_corrector": Option(
        predictor_corrector, dotted("steps", "predictor", "corrector", "corrector_steps", "snr", "norms")
    ),
    "ode": Option(ode, dotted("tolerance")),
}
# What restores test images: `(sde, known, shape, sampling) -> project` of the sampling loop, or None.
TASKS = {
    "none": Option(lambda sde, known, shape, s: None, dotted("classes", "per_class")),
    "inpainting": Option(
        lambda sde, known, shape, s: inpainting(sde, known, mask_of(s.hidden, shape)), dotted("hidden")
    ),
    "colorization": Option(lambda sde, known, shape, s: colorization(sde, known)),
}
FIELDS = dict(
    count=Field(500, "images in all, round the classes; may be raised: the first ones stay", POSITIVE),
    classes=Field((), "classes to draw, by name, as in ('3', '7'); () is all"),
    per_class=Field((), "how many of each of these classes, in place of count"),
    png=Field(False, "also write each sample as samples/png/CLASS/INDEX.png", free=True),
    batch_size=Field(128, "images at a time", POSITIVE, per_device=True),
    sampler=Field("dpm_solver", "dpm_solver, heun, ddim take few steps; ode has adaptive ones", one_of(*SAMPLERS),
                  before="predictor_corrector"),
    steps=Field(20, "all but ode; each is one network call, of heun two, of predictor_corrector 1 + corrections",
                AT_LEAST_TWO),
    schedule=Field("karras", "dpm_solver, heun, ddim: how the noise levels are spaced", one_of(*SCHEDULES)),
    eta=Field(0.0, "ddim: 0 is deterministic, 1 ancestral", SHARE),
    clip=Field(False, "dpm_solver, heun, ddim: keep the denoised image in [0, 1] at every step"),
    tolerance=Field(1e-4, "ode: of its error, relative and absolute", POSITIVE),
    predictor=Field("reverse_diffusion", "predictor_corrector", one_of(*PREDICTORS)),
    corrector=Field("none", "predictor_corrector", one_of(*CORRECTORS)),
    corrector_steps=Field(1, "predictor_corrector: corrections a step", NOT_NEGATIVE),
    snr=Field(0.16, "predictor_corrector: signal-to-noise ratio of the corrector's steps", POSITIVE),
    norms=Field("image", "langevin: norms of its step; batch is the released code's: images depend on neighbours",
                one_of(*NORMS)),
    scale=Field(8.0, "of the classifier gradient; 0 is unguided", NOT_NEGATIVE),
    interval=Field((), "noise levels (std / alpha, of images in [0, 1]) between which the gradient acts; () is all"),
    t_init=Field(1.0, "time to start from"),
    prior=Field("gaussian", "what to start from; uniform_gaussian is for t_init below 1", one_of(*PRIORS)),
    task=Field("none", "restore test images in place of drawing new ones; not with ode", one_of(*TASKS)),
    hidden=Field("right", "inpainting: the half or part that is drawn", one_of(*HIDDEN)),
)  # fmt: skip


def check(sampling) -> None:
    """What the options ask; t_init leaves room for steps above the sampling eps, 0.001 at most."""
    if not 0.05 <= sampling.t_init <= 1:
        raise UserError(f"config.sampling.t_init is {sampling.t_init}: it must lie in [0.05, 1]")
    levels = tuple(sampling.interval)
    numbers = all(isinstance(level, int | float) and math.isfinite(level) for level in levels)
    if levels and not (numbers and len(levels) == 2 and 0 <= levels[0] < levels[1]):
        raise UserError(
            f"config.sampling.interval is {levels}: give two noise levels, the lower first, as in "
            "--config.sampling.interval='(0.1, 5.0)', or () for all"
        )
    if sampling.sampler == "ode" and sampling.task != "none":
        raise UserError(f"config.sampling.task {sampling.task} is not for sampler ode: choose one that takes steps")
    corrections = 0 if sampling.corrector == "none" else sampling.corrector_steps
    if sampling.sampler == "predictor_corrector" and sampling.predictor == "none" and not corrections:
        raise UserError("config.sampling.predictor and the corrector are both none: nothing would be drawn")
    counts = tuple(sampling.per_class)
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in counts):
        raise UserError(f"config.sampling.per_class is {counts}: give a whole number of 1 or more for each class")


def check_classes(sampling, class_names: tuple) -> None:
    """Classes that are asked for must exist, once each, and have a count each where counts are given."""
    asked, counts = tuple(map(str, sampling.classes)), tuple(sampling.per_class)
    strange = [name for name in asked if name not in class_names]
    if strange or len(set(asked)) < len(asked):
        wrong = f"there is no class {strange[0]!r}" if strange else "a class comes twice"
        raise UserError(f"config.sampling.classes is {asked}: {wrong}; choose among {', '.join(class_names)}")
    if counts and len(counts) != len(asked or class_names):
        raise UserError(
            f"config.sampling.per_class has {len(counts)} numbers for {len(asked or class_names)} classes "
            f"({', '.join(asked or class_names)}): give one for each"
        )


def wanted_labels(sampling, class_names: tuple) -> np.ndarray:
    """Class of every image to draw, int32 `[N]`: round the classes asked for, each as often as it is asked for. More
    images of the same classes begin with the same labels."""
    asked = np.array([class_names.index(str(name)) for name in sampling.classes] or range(len(class_names)), np.int32)
    if not sampling.per_class:
        return asked[np.arange(sampling.count) % len(asked)]
    rounds = range(max(sampling.per_class))
    return np.concatenate([asked[[n > done for n in sampling.per_class]] for done in rounds])


def conditions(sampling, class_names: tuple, dataset=None) -> dict:
    """{"labels" int32 [N]}; where test images are restored, their own, with "known", the images."""
    if sampling.task == "none":
        return {"labels": wanted_labels(sampling, class_names)}
    chosen = np.arange(sampling.count) % len(dataset.x_test)
    return {
        "labels": dataset.y_test[chosen].astype(np.int32),
        "known": dataset.x_test[chosen].astype(np.float32) / 255.0,
    }


def network_calls(sampling) -> int | None:
    """Calls of the score network an image; None where the sampler decides as it goes."""
    if sampling.sampler == "ode":
        return None
    if sampling.sampler == "predictor_corrector":
        return sampling.steps * moves_per_step(sampling.corrector, sampling.corrector_steps)
    return calls(sampling.sampler, sampling.steps)


def guided_share(sampling, sde) -> float:
    """Share of an image's network calls at which the classifier's gradient acts, for an estimate of time."""
    if not sampling.scale:
        return 0.0
    if not sampling.interval:
        return 1.0
    if sampling.sampler in SOLVERS:
        times = ladder(sde, sampling.steps, schedule=sampling.schedule, t_init=sampling.t_init)[:-1]
    else:  # evenly spaced, as are about the steps of the adaptive solver
        times = np.linspace(sampling.t_init, sde.sampling_eps, sampling.steps)
    sigma = np.exp(np.asarray(sde.log_sigma(jnp.asarray(times))))
    return float(((sigma >= sampling.interval[0]) & (sigma <= sampling.interval[1])).mean())


def build_sampler(sampling, sde, shape: tuple, progress: Callable | None = None, trace: bool = False) -> Callable:
    """`(keys, score_fn, project) -> x [B, *shape]`, as config.sampling has it; project is None or inverse.py's. With
    `trace` every step, `[T, B, *shape]`."""
    option = SAMPLERS[sampling.sampler]
    fields = {name: sampling[name] for name in (f.split(".")[1] for f in option.fields)}
    progress = progress if (network_calls(sampling) or 0) >= LONG else None

    def draw(keys, score_fn, project):
        return option.make(
            keys,
            score_fn,
            sde,
            shape,
            **fields,
            t_init=sampling.t_init,
            prior=sampling.prior,
            project=project,
            progress=progress,
            trace=trace,
        )

    return draw


def guided_score(experiment, parameters, labels, scale=None) -> Callable:
    """The score function that samples follow, with the classifier's gradient unless config.sampling.scale is 0.

    parameters: (score, classifier); labels int `[B]`; scale: in place of the config's, may be traced."""
    s, sde = experiment.config.sampling, experiment.sde
    score_fn = experiment.score_fn(parameters[0])
    if not s.scale:
        return score_fn
    scale = s.scale if scale is None else scale
    levels = jnp.log(jnp.maximum(jnp.asarray(tuple(s.interval)), 1e-12))
    interval = tuple(sde.time_of_log_sigma(levels)) if s.interval else None
    classifier_fn = experiment.classifier_fn(parameters[1], score_fn)
    return guidance.guided_score(score_fn, classifier_fn, labels, scale=scale, interval=interval)


def guided_sampler(experiment, progress: Callable | None = None) -> Callable:
    """`(parameters, keys, labels[, known]) -> x`: parameters are (score, classifier), `known` the images to restore."""
    s, sde, shape = experiment.config.sampling, experiment.sde, experiment.image_shape
    draw, restore = build_sampler(s, sde, shape, progress), TASKS[s.task].make

    def sample(parameters, keys, labels, known=None):
        return draw(keys, guided_score(experiment, parameters, labels), restore(sde, known, shape, s))

    return sample
