"""A run's networks as functions: what `scoressl_jax.open` gives to a person, a notebook or another program.

Nothing global is set, and neither the data set nor the config's file is needed.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from scoressl_jax import guidance
from scoressl_jax.devices import batched, by_image, device_mesh, replicated
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import samplers
from scoressl_jax.experiment.build import open_experiment
from scoressl_jax.experiment.config import FIELDS
from scoressl_jax.experiment.fields import check_values
from scoressl_jax.experiment.images import IMAGES
from scoressl_jax.experiment.run import Run
from scoressl_jax.experiment.speaker import opened
from scoressl_jax.report.page import write_report
from scoressl_jax.sampling.generate import Progress, batch_drawer, drawn, to_uint8
from scoressl_jax.studies.kinds import kind_of


class Unstopped:
    """Stands for the signals that a command listens to: here a KeyboardInterrupt does."""

    def check(self) -> None:
        pass


class OpenedRun:
    """A finished run. Images are uint8 in 0..255 or floats in [0, 1], `[N, H, W, C]`, or `[N, H, W]` where C is 1.

    >>> import scoressl_jax
    >>> run = scoressl_jax.open("runs/digits")
    >>> run.class_names
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    >>> run.image_shape
    (8, 8, 1)

    Programs are compiled once for each shape and sampler, and kept. It may be used from several threads.
    """

    def __init__(self, run: Run):
        self._run, self._experiment = run, open_experiment(run)
        self._programs, self._lock = {}, threading.Lock()

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        return f"<run {self.workdir}: {len(self.class_names)} classes of {height}x{width}x{channels} images>"

    @property
    def workdir(self) -> Path:
        return self._run.workdir

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._experiment.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self._experiment.image_shape

    @cached_property
    def config(self):
        """The run's fields, a ConfigDict; changing them changes nothing here."""
        return self._experiment.config.copy_and_resolve_references()

    @property
    def results(self) -> dict:
        """What results.json holds."""
        return self._run.results

    def classify(self, images: np.ndarray, by: str = "") -> np.ndarray:
        """Probability of each class, float32 `[N, classes]`, in the order of `class_names`. Where a run has a teacher,
        it answers, as it knows clean images best; `by` "classifier" asks the noise-conditional classifier instead.

        >>> images = np.zeros((3, 8, 8, 1), np.uint8)
        >>> probabilities = run.classify(images)
        >>> probabilities.shape
        (3, 10)
        >>> names = [run.class_names[best] for best in probabilities.argmax(-1)]

        Raises UserError for images of another size or type.
        """
        x, teacher = self._images(images), self._teacher
        if by not in ("", "classifier", *(("teacher",) if teacher else ())):
            raise UserError(
                f"by is {by!r}: give 'classifier'" + (", or 'teacher'" if teacher else ": there is no teacher")
            )
        if teacher and by != "classifier":
            return teacher.probabilities(np.rint(255 * x).astype(np.uint8))
        t = np.full(len(x), self.config.evaluation.accuracy_t, np.float32)
        program = self._program("classify", lambda: self._compiled(classify_with))
        parameters = self._params("score"), self._params("classifier")
        return batched(partial(program, parameters), self._batch(self.config.evaluation), x, t)

    @cached_property
    def _teacher(self):
        """Who labels clean images; None where the run has no teacher."""
        return opened(self._run, self.config, len(self.class_names))

    def score(self, x: np.ndarray, t: float | np.ndarray) -> np.ndarray:
        """The score of noisy images x, like x: the gradient of the log density of images diffused to times t in (0, 1],
        one for all or `[N]`; x are floats of any range, as `diffuse` makes them."""
        return self._at_times("score", lambda e, p, x, t: e.score_fn(p)(x, t), x, t)

    def denoise(self, x: np.ndarray, t: float | np.ndarray) -> np.ndarray:
        """The clean images expected of noisy ones x at times t, like x (Sastry et al. 2023, section 3).

        >>> noisy = run.diffuse(images, 0.3, seed=0)
        >>> run.denoise(noisy, 0.3).shape
        (3, 8, 8, 1)
        """

        def clean(experiment, params, x, t):
            found = guidance.denoise(experiment.sde, experiment.score_fn(params), x, t)
            return found / jnp.reshape(experiment.sde.marginal(t)[0], (-1, 1, 1, 1))

        return self._at_times("denoise", clean, x, t)

    def diffuse(self, images: np.ndarray, t: float | np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Images with the noise of times t, float32: what the forward process makes of them."""
        x = self._images(images)
        z = jax.random.normal(jax.random.key(seed), x.shape)
        return np.asarray(self._experiment.sde.perturb(jnp.asarray(x), jnp.asarray(times(t, len(x))), z))

    def sample(
        self,
        labels: Sequence,
        *,
        scale: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> np.ndarray:
        """Images of the classes asked for, uint8 `[N, H, W, C]`; labels are class names, or their places in
        `class_names` (where classes are called by numbers, these).

        >>> run.sample(["3", "7"], scale=4.0, steps=4, seed=0).shape
        (2, 8, 8, 1)

        Image i follows from (seed, i) and its label, however many are drawn. What is None is the run's own; scale 0
        draws without a classifier. Raises UserError for a class that does not exist and for values out of range.
        """
        return to_uint8(self._draw(labels, seed, progress, scale=scale, sampler=sampler, steps=steps))

    def trajectory(
        self,
        labels: Sequence,
        *,
        scale: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """How samples come about, float32 `[T, N, H, W, C]`: the images after every step, noisy at first; the last are
        those of `sample` before they are rounded. Not with sampler ode."""
        found = self._draw(labels, seed, False, trace=True, scale=scale, sampler=sampler, steps=steps)
        return np.moveaxis(found, 1, 0)

    def report(self) -> Path:
        """Make report.html anew from the run's files; returns its path."""
        return write_report(self._run)

    # What the above share

    def _params(self, stage: str):
        """Averaged parameters of a stage, on the devices."""
        return self._program(
            ("parameters", stage), lambda: jax.device_put(self._run.params(stage), replicated(device_mesh()))
        )

    def _batch(self, plan) -> int:
        return plan.batch_size + -plan.batch_size % jax.device_count()

    def _program(self, key, make: Callable) -> Callable:
        with self._lock:
            if key not in self._programs:
                self._programs[key] = make()
            return self._programs[key]

    def _compiled(self, function: Callable) -> Callable:
        """`function(experiment, parameters, x, *rest)` compiled, with its batch split over the devices."""
        mesh = device_mesh()

        @partial(jax.jit, out_shardings=replicated(mesh))
        def run(parameters, *arrays):
            arrays = jax.lax.with_sharding_constraint(arrays, by_image(mesh))
            return function(self._experiment, parameters, *arrays)

        return run

    def _at_times(self, name: str, function: Callable, x, t) -> np.ndarray:
        x = np.asarray(x, np.float32)
        if x.shape[1:] != self.image_shape or not len(x):
            raise UserError(f"{name}: x has shape {list(x.shape)}: give floats [N, {size_of(self.image_shape)}]")
        program = self._program(name, lambda: self._compiled(function))
        run = partial(program, self._params("score"))
        return batched(run, self._batch(self.config.evaluation), x, times(t, len(x)))

    def _images(self, images) -> np.ndarray:
        """float32 `[N, H, W, C]` in [0, 1]."""
        x = np.asarray(images)
        if x.ndim == 3 and self.image_shape[-1] == 1 and x.shape[1:] == self.image_shape[:2]:
            x = x[..., None]
        if x.ndim != 4 or x.shape[1:] != self.image_shape or not len(x):
            size = size_of(self.image_shape)
            raise UserError(f"images have shape {list(x.shape)}, this run's are [N, {size}]: resize them")
        if x.dtype == np.uint8:
            return x.astype(np.float32) / 255.0
        if not np.issubdtype(x.dtype, np.floating):
            raise UserError(f"images hold {x.dtype} values: give uint8 in 0..255, or floats in [0, 1]")
        if not (x.min() >= 0 and x.max() <= 1):  # so that NaN is refused
            raise UserError(f"images hold values from {x.min():g} to {x.max():g}: give floats in [0, 1], or uint8")
        return x.astype(np.float32)

    def _numbers(self, labels) -> np.ndarray:
        """Class numbers int32 `[N]` of names or numbers."""
        if isinstance(labels, str) or not len(labels):
            raise UserError(f"labels are {labels!r}: give a list of class names or numbers, one for each image")
        return np.array([self._number(label) for label in labels], np.int32)

    def _number(self, label) -> int:
        if isinstance(label, str) and label in self.class_names:
            return self.class_names.index(label)
        whole, names = isinstance(label, int | np.integer) and not isinstance(label, bool), self.class_names
        if whole and all(name.isdecimal() for name in names):  # a number is what the class is called
            found = [int(name) for name in names]
            if label in found:
                return found.index(label)
        elif whole and 0 <= label < len(names):
            return int(label)
        raise UserError(f"there is no class {label!r}: choose among {', '.join(names)}")

    def _draw(self, labels, seed: int, shown: bool, trace: bool = False, **asked) -> np.ndarray:
        numbers, experiment = self._numbers(labels), self._planned(asked)
        plan = experiment.config.sampling
        fields = tuple(sorted((name, plan[name]) for name in ("sampler", "steps")))
        draw = self._program(("sample", fields, trace, plan.scale > 0), lambda: drawer(experiment, trace))
        parameters = tuple(self._params(name) for name in ("score", *(("classifier",) if plan.scale else ())))
        return drawn(
            draw,
            (parameters, jnp.float32(plan.scale)),
            {"labels": numbers},
            batch=self._batch(plan),
            seed=seed,
            stop=Unstopped(),
            progress=Progress(len(numbers), shown=shown),
        )

    def _planned(self, asked: dict):
        """The experiment with what is asked of sampling in place of its own."""
        config = self.config.copy_and_resolve_references()
        config.sampling.update({name: value for name, value in asked.items() if value is not None})
        config.sampling.update(task="none", classes=(), per_class=())
        check_values(config, FIELDS)
        samplers.check(config.sampling)
        return type(self._experiment)(config, self.class_names, self.image_shape, self._experiment.load)


def classify_with(experiment, parameters, x, t):
    score, classifier = parameters
    return jax.nn.softmax(experiment.classifier_fn(classifier, experiment.score_fn(score))(x, t)[0])


def drawer(experiment, trace: bool) -> Callable:
    """A batch_drawer's function of ((networks, scale), ...): scale is an argument, so that another compiles nothing."""
    plan, sde, shape = experiment.config.sampling, experiment.sde, experiment.image_shape
    draw = samplers.build_sampler(plan, sde, shape, trace=trace)

    def sample(parameters, keys, labels):
        networks, scale = parameters
        x = draw(keys, samplers.guided_score(experiment, networks, labels, scale), None)
        return jnp.moveaxis(x, 1, 0) if trace else x  # images first, as everything that is split over devices

    return batch_drawer(sample)


def times(t, count: int) -> np.ndarray:
    """float32 `[count]` of one time or as many."""
    found = np.asarray(t, np.float32)
    if found.shape not in ((), (count,)) or not ((found > 0) & (found <= 1)).all():
        raise UserError(f"t is {t!r}: give a time in (0, 1], or {count} of them")
    return np.broadcast_to(found, (count,)).copy()


def size_of(shape: tuple) -> str:
    return ", ".join(map(str, shape))


def open_run(workdir: Path | str) -> OpenedRun:
    """The run in a directory. Raises UserError where there is none, or one of another kind of study."""
    run = Run.open(workdir)
    if kind_of(run.config) is not IMAGES:
        raise UserError(f"{workdir} is a study of the two moons, which has no images: its figures are in results.json")
    return OpenedRun(run)
