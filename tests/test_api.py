"""scoressl_jax.open: what it gives, that it needs nothing but the run, keeps images' keys, and compiles once."""

import doctest
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import scoressl_jax
from scoressl_jax import api
from scoressl_jax.errors import UserError
from scoressl_jax.experiment.build import build
from scoressl_jax.experiment.config import config_of_run
from scoressl_jax.experiment.run import Run
from scoressl_jax.sde import VE

OLD = Path(__file__).parent / "experiment" / "old_runs" / "finished.tar.gz"
SDE = VE(0.01, 10.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, compiled):
    """A folder with runs/digits in it: a small finished run."""
    folder = tmp_path_factory.mktemp("api")
    with tarfile.open(OLD) as file:
        file.extractall(folder / "runs", filter="data")
    (folder / "runs" / "finished").rename(folder / "runs" / "digits")
    return folder


@pytest.fixture(scope="module")
def run(runs):
    return scoressl_jax.open(runs / "runs" / "digits")


@pytest.fixture(scope="module")
def experiment(run):
    return build(config_of_run(Run.open(run.workdir)), known=Run.open(run.workdir).config)


@pytest.fixture(scope="module")
def images(experiment):
    return experiment.dataset.x_test[:20]


def test_examples_of_the_docstrings_run(runs, monkeypatch):
    monkeypatch.chdir(runs)
    found, names, count = doctest.DocTestFinder().find(api.OpenedRun, globs={"np": np}), {"np": np}, 0
    for test in sorted(found, key=lambda test: test.lineno or 0):
        test.globs = names  # one goes on where the other ended, as a reader does
        outcome = doctest.DocTestRunner().run(test, clear_globs=False)
        assert outcome.failed == 0
        count += outcome.attempted
    assert count >= 10


def test_class_probabilities_are_those_of_the_classifier_told_little_noise(run, experiment, images):
    params = [Run.open(run.workdir).params(stage) for stage in ("score", "classifier")]
    classifier_fn = experiment.classifier_fn(params[1], experiment.score_fn(params[0]))
    logits, _ = classifier_fn(images.astype(np.float32) / 255, np.full(20, 0.001, np.float32))
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = run.classify(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(run.classify(images.astype(np.float32) / 255), found, atol=1e-6)
    np.testing.assert_allclose(run.classify(images[..., 0]), found, atol=1e-6)
    assert len(np.unique(found.argmax(-1))) > 1


def test_score_denoised_and_diffused_images_are_of_the_process(run, experiment, images):
    noisy, x = run.diffuse(images, 0.5, seed=3), images.astype(np.float32) / 255
    std = 0.01 * 1000**0.5
    assert np.std(noisy - x) == pytest.approx(std, rel=0.05)
    t = np.full(20, 0.5, np.float32)
    score = np.asarray(experiment.score_fn(Run.open(run.workdir).params("score"))(noisy, t))
    np.testing.assert_allclose(run.score(noisy, 0.5), score, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run.denoise(noisy, t), noisy + std**2 * score, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(run.diffuse(images, 0.5, seed=4), noisy)


def test_an_image_follows_from_its_number_and_label_alone(run):
    labels = ["3", "7", 1, np.int64(0), "9"] * 5
    many = run.sample(labels, steps=3, seed=5)
    assert many.shape == (25, 8, 8, 1)
    assert many.dtype == np.uint8
    np.testing.assert_array_equal(run.sample(labels[:3], steps=3, seed=5), many[:3])
    np.testing.assert_array_equal(run.sample([3, 7, "1", "0", 9] * 2, steps=3, seed=5), many[:10])
    assert not np.array_equal(run.sample(labels, steps=3, seed=6), many)
    assert not np.array_equal(run.sample(["4"] * 25, steps=3, seed=5), many)
    np.testing.assert_array_equal(run.sample(["4"] * 9, scale=0, steps=3), run.sample(["5"] * 9, scale=0, steps=3))


def test_samples_are_those_that_the_run_drew_itself(run):
    stored = Run.open(run.workdir).samples
    drawn = run.sample([int(label) for label in stored["labels"]])
    assert np.abs(drawn.astype(int) - stored["images"].astype(int)).max() <= 1


@pytest.mark.parametrize("option", [dict(scale=3.0), dict(sampler="ddim"), dict(steps=6)])
def test_options_change_the_samples(run, option):
    base = dict(scale=8.0, sampler="heun", steps=3)
    assert not np.array_equal(run.sample(["1"] * 4, **base), run.sample(["1"] * 4, **base | option))


def test_a_trajectory_begins_with_noise_and_ends_with_the_samples(run):
    found = run.trajectory(["1", "2"], sampler="dpm_solver", steps=5, seed=2)
    assert found.shape == (5, 2, 8, 8, 1)
    assert found[0].std() > 3 * found[-1].std()
    expected = run.sample(["1", "2"], sampler="dpm_solver", steps=5, seed=2)
    np.testing.assert_array_equal(np.round(np.clip(found[-1], 0, 1) * 255), expected)


def test_nothing_compiles_twice(run, images):
    def everything(count):
        run.classify(images[:count])
        run.sample(["1"] * count, scale=2.0 + count, steps=2)
        run.score(images[:count] / 255.0, 0.5)

    everything(3)
    with jax.log_compiles(False), compilations() as count:
        everything(5)
    assert count == []


class compilations:
    """The names of what is compiled inside the block, as a list."""

    def __enter__(self):
        self.found = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self.found

    def _listen(self, name, *_, **__):
        if "backend_compile" in name:
            self.found.append(name)

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self._listen)


def test_threads_share_a_run(run, images):
    expected, found = run.classify(images), {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: run.classify(images[i:])})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_allclose(found[i], expected[i:], atol=1e-6)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda run: run.classify(np.zeros((2, 9, 8, 1), np.uint8)), "[2, 9, 8, 1]"),
        (lambda run: run.classify(np.zeros((0, 8, 8, 1), np.uint8)), "[0, 8, 8, 1]"),
        (lambda run: run.classify(np.zeros((2, 8, 8, 1), int)), "int64"),
        (lambda run: run.classify(np.full((2, 8, 8, 1), 1.5)), "1.5"),
        (lambda run: run.classify(np.full((2, 8, 8, 1), np.nan)), "nan"),
        (lambda run: run.sample(["ten"]), "'ten'"),
        (lambda run: run.sample([10]), "10"),
        (lambda run: run.sample([True]), "True"),
        (lambda run: run.sample("3"), "'3'"),
        (lambda run: run.sample([]), "[]"),
        (lambda run: run.sample(["3"], sampler="best"), "best"),
        (lambda run: run.sample(["3"], scale=-1.0), "scale"),
        (lambda run: run.sample(["3"], steps=1), "steps"),
        (lambda run: run.trajectory(["3"], sampler="ode"), "ode"),
        (lambda run: run.score(np.zeros((2, 8, 8, 1)), 0.0), "0.0"),
        (lambda run: run.score(np.zeros((2, 8, 8, 1)), [0.5]), "[0.5]"),
        (lambda run: run.denoise(np.zeros((2, 8, 8)), 0.5), "[2, 8, 8]"),
    ],
)
def test_bad_input_is_an_exception_that_says_what(run, use, words):
    with pytest.raises(UserError) as refused:
        use(run)
    assert words in str(refused.value)


def test_only_runs_on_images_are_opened(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        scoressl_jax.open(tmp_path)
    (tmp_path / "config.json").write_text('{"data": {"name": "moons"}}')
    with pytest.raises(UserError, match="two moons"):
        scoressl_jax.open(tmp_path)


QUICK = """
import sys, time
started = time.perf_counter()
import scoressl_jax
assert time.perf_counter() - started < 1
heavy = {"tensorflow", "torch", "sklearn", "matplotlib", "jax"} & set(sys.modules)
assert not heavy, heavy
"""
QUIET = """
import logging, os, signal, sys
import jax
before = dict(os.environ), signal.getsignal(signal.SIGTERM), logging.getLogger().level, logging.getLogger("absl").level
x = jax.numpy.ones(3) + 1  # as a notebook that has used jax
flags = jax.config.jax_num_cpu_devices, jax.config.jax_compilation_cache_dir
import numpy as np, scoressl_jax
run = scoressl_jax.open(sys.argv[1])
run.classify(np.zeros((2, 8, 8, 1), np.uint8))
after = dict(os.environ), signal.getsignal(signal.SIGTERM), logging.getLogger().level, logging.getLogger("absl").level
assert before == after
assert flags == (jax.config.jax_num_cpu_devices, jax.config.jax_compilation_cache_dir)
assert not {"tensorflow", "torch"} & set(sys.modules)
"""


def test_importing_is_quick_and_light():
    subprocess.run([sys.executable, "-c", QUICK], check=True)


def test_using_a_run_sets_nothing_global(run):
    done = subprocess.run([sys.executable, "-c", QUIET, str(run.workdir)], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("names", "labels", "found"),
    [
        (("0", "1", "7"), [7, "7", 0], [2, 2, 0]),  # where classes are called by numbers, a number is a name
        (("cat", "dog", "7"), [2, "cat", np.int64(1)], [2, 0, 1]),
        (("0", "1", "7"), [2], None),
        (("cat", "dog"), [2], None),
    ],
)
def test_a_number_is_a_class_name_where_classes_are_called_so(run, names, labels, found, monkeypatch):
    monkeypatch.setattr(api.OpenedRun, "class_names", names)
    if found is None:
        with pytest.raises(UserError, match="there is no class 2"):
            run._numbers(labels)
    else:
        np.testing.assert_array_equal(run._numbers(labels), found)


def test_a_teacher_answers_unless_the_classifier_is_asked_for(run, images):
    asked, answer = [], np.eye(10, dtype=np.float32)[np.arange(len(images)) % 10]
    taught = scoressl_jax.open(run.workdir)
    taught.__dict__["_teacher"] = SimpleNamespace(probabilities=lambda x: asked.append(x) or answer)
    for given in (images, images.astype(np.float32) / 255):
        assert (taught.classify(given) == answer).all()
        assert asked[-1].dtype == np.uint8
        np.testing.assert_array_equal(asked[-1], images)
    assert (taught.classify(images, by="teacher") == answer).all()
    np.testing.assert_array_equal(taught.classify(images, by="classifier"), run.classify(images))
    with pytest.raises(UserError, match="'classifier', or 'teacher'"):
        taught.classify(images, by="judge")
    with pytest.raises(UserError, match="there is no teacher"):
        run.classify(images, by="teacher")
