"""Every figure of results.json by hand: measured on the wrong images, labels or times, it is another one."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoressl_jax.experiment import drawing, images, judge, measure, samplers
from scoressl_jax.experiment.judge import LOG_SIGMA
from scoressl_jax.metrics import likelihood
from scoressl_jax.metrics.features import Extractor
from tests.experiment.known import STEP, coded, keys, make_work, read


@pytest.fixture
def told(monkeypatch):
    """measure.predictors replaced by functions that read codes and remember what they were given."""
    given = {"predict": [], "gradient": []}

    def predict(x, t):
        given["predict"].append((np.asarray(x), np.asarray(t)))
        return read(np.asarray(x))

    def gradient(x, t, y):
        given["gradient"].append((np.asarray(x), np.asarray(t), np.asarray(y)))
        return np.full(np.shape(x), 2.0, np.float32) * np.asarray(y)[:, None, None, None]

    monkeypatch.setattr(measure, "predictors", lambda work: (predict, gradient))
    return given


def test_predictors_are_the_classifier_and_its_gradient(tmp_path):
    work = make_work(tmp_path)
    work.known = {"score": {"shift": jnp.float32(0.5)}, "classifier": {"shift": 1}}
    predict, gradient = measure.predictors(work)
    x, t, y = coded(range(10), 4)[:8] / np.float32(255), np.full(8, 0.5, np.float32), np.arange(8)
    expected = np.roll(read(x), 1, axis=-1) * 1.5
    np.testing.assert_allclose(predict(x, t), expected, rtol=1e-4, atol=1e-3)

    def log_p(pixels):
        logits = jnp.roll(read(jnp.asarray(x).at[:, 0, 0, 0].set(pixels)), 1, axis=-1) * 1.5
        return jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1).sum()

    np.testing.assert_allclose(
        gradient(x, t, y)[:, 0, 0, 0], jax.grad(log_p)(jnp.asarray(x[:, 0, 0, 0])), rtol=1e-3, atol=1e-2
    )


def test_clean_accuracy_is_of_the_images_as_they_are(tmp_path, told):
    says, truth = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]
    work = make_work(tmp_path, test_says=says, test_is=truth, **{"evaluation.accuracy_t": 0.02})
    measure.evaluate(work)
    x, t = told["predict"][0]
    np.testing.assert_array_equal(x[:12], work.experiment.dataset.x_test / np.float32(255))
    np.testing.assert_array_equal(t, np.full(16, np.float32(0.02)))
    block = work.run.results["classifier"]
    assert block["accuracy"] == pytest.approx(10 / 12)
    assert block["accuracy_standard_error"] == pytest.approx((10 / 12 * 2 / 12 / 12) ** 0.5)
    assert 0 <= work.run.results["evaluation"]["seconds"] < 100
    assert block["accuracy_t"] == 0.02
    np.testing.assert_array_equal(work.run.evaluation["confusion"][0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(work.run.evaluation["confusion"][1], [1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    rows = {row["class"]: row for row in block["per_class"]}
    figures = dict(precision=1.0, recall=0.5, f1=pytest.approx(2 / 3), count=2)
    assert rows["class 1"] == {"class": "class 1", **figures}
    assert "f1" not in block


def test_precision_recall_and_f1_are_of_the_positive_class(tmp_path, told):
    says, truth = [1, 1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0, 0]  # of two positives one is found, by three guesses
    work = make_work(tmp_path, classes=2, test_says=says, test_is=truth)
    measure.evaluate(work)
    block = work.run.results["classifier"]
    assert block["precision"] == pytest.approx(1 / 3)
    assert block["recall"] == pytest.approx(1 / 2)
    assert block["f1"] == pytest.approx(0.4)


def test_calibration_is_of_the_softmax():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.05, 0.9, 0.05]]))
    arrays, block = measure.classifier_figures(logits, np.array([0, 1, 2, 1]), ("a", "b", "c"))
    assert block["ece"] == pytest.approx((abs(2 * 0.7 - 1) + (1 - 0.6) + (1 - 0.9)) / 4)
    assert arrays["reliability_count"].sum() == 4


def test_the_curve_by_noise_is_of_some_test_images_at_times_up_to_one(tmp_path, told):
    work = make_work(tmp_path, **{"evaluation.accuracy_t": 0.1, "evaluation.times": 4, "evaluation.curve_images": 9})
    block = measure.figures_by_noise(work, *measure.predictors(work))
    rows = block["accuracy_by_noise"]
    np.testing.assert_allclose([row["t"] for row in rows], [0.1, 0.4, 0.7, 1.0])
    np.testing.assert_allclose([row["sigma"] for row in rows], 0.01 * 1000 ** np.array([0.1, 0.4, 0.7, 1.0]), rtol=1e-5)
    some = np.random.default_rng(0).permutation(30)[:9]
    for (x, t), row in zip(told["predict"][:4], rows, strict=True):
        noise = x[:9] - work.experiment.dataset.x_test[some] / np.float32(255)
        assert np.std(noise) == pytest.approx(row["sigma"], rel=0.25)
        np.testing.assert_allclose(t, row["t"], rtol=1e-6)
        assert row["accuracy"] == pytest.approx((read(x[:9]).argmax(-1) == work.experiment.dataset.y_test[some]).mean())
        assert row["accuracy_standard_error"] == pytest.approx((row["accuracy"] * (1 - row["accuracy"]) / 9) ** 0.5)
    y = work.experiment.dataset.y_test[some]
    norms = [np.mean(2.0 * y * 4) * row["sigma"] for row in rows]  # 16 pixels of 2 y each
    np.testing.assert_allclose([row["guidance_norm"] for row in rows], norms, rtol=1e-4)
    accuracy = np.array([row["accuracy"] for row in rows])
    assert block["accuracy_area"] == pytest.approx((accuracy[:-1] + accuracy[1:]).sum() * 0.15 / 0.9)


def test_accuracy_over_all_noise_is_of_every_test_image_at_a_time_of_its_own(tmp_path, told):
    work = make_work(tmp_path, **{"evaluation.times": 1})
    block, data = measure.figures_by_noise(work, *measure.predictors(work)), work.experiment.dataset
    x, t = (np.concatenate(parts)[:30] for parts in zip(*told["predict"][1:], strict=True))
    right = block["accuracy_all_noise"]
    assert right == pytest.approx((read(x).argmax(-1) == data.y_test).mean())
    assert block["accuracy_all_noise_standard_error"] == pytest.approx((right * (1 - right) / 30) ** 0.5)
    assert len(np.unique(t)) == 30
    assert t.min() < 0.2
    assert t.max() > 0.8
    sizes = np.std((x - data.x_test / np.float32(255)).reshape(30, -1), axis=-1)
    np.testing.assert_allclose(sizes, 0.01 * 1000**t, rtol=0.6)
    assert "accuracy_area" not in block


def test_gradient_pictures_are_of_the_right_images_time_and_class(tmp_path, told):
    work = make_work(tmp_path, **{"evaluation.gradient_t": 0.6, "seed": 3})
    found = measure.gradient_pictures(work, measure.predictors(work)[1])
    data = work.experiment.dataset
    np.testing.assert_array_equal(found["gradient_labels"], np.arange(10))
    np.testing.assert_array_equal(found["gradient_images"], data.x_test[::3])
    x, t, y = told["gradient"][0]
    np.testing.assert_array_equal(t, np.full(16, np.float32(0.6)))
    np.testing.assert_array_equal(y[:10], np.arange(10))
    np.testing.assert_array_equal(x[:10], found["gradient_noisy"])
    noise = found["gradient_noisy"] - data.x_test[::3] / np.float32(255)
    assert np.std(noise) == pytest.approx(0.01 * 1000**0.6, rel=0.2)
    np.testing.assert_allclose(found["gradients"][4], 8.0)
    assert found["gradient_t"] == 0.6


def test_labelled_pictures_are_of_the_labels_that_training_sees(tmp_path):
    work = make_work(tmp_path, labeled=[3, 8, 11])
    found, data = measure.labelled_pictures(work), work.experiment.dataset
    np.testing.assert_array_equal(found["labeled_images"], data.x_train[[3, 8, 11]])
    np.testing.assert_array_equal(found["labeled_labels"], data.y_train[[3, 8, 11]])


def test_labelled_pictures_are_some_of_each_class(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "SHOWN", 30)
    train = np.repeat(np.arange(10), 20)  # in order, so that the first thirty images are of two classes
    found = measure.labelled_pictures(make_work(tmp_path, train=train, labeled=np.arange(200)))
    assert np.bincount(found["labeled_labels"]).tolist() == [3] * 10
    np.testing.assert_array_equal(found["labeled_images"][:, 0, 0, 0], STEP * found["labeled_labels"])
    monkeypatch.setattr(measure, "SHOWN", 4)
    few = measure.labelled_pictures(make_work(tmp_path, train=train, labeled=np.arange(200)))
    assert few["labeled_labels"].tolist() == [0, 1, 2, 3]


class Reader:
    """Stands for a trained judge: reads codes of uint8 images; `asked` are the images it was given."""

    name = "reader"

    def __init__(self, shift=0):
        self.asked, self.shift = [], shift

    def outputs(self, images, batch):
        self.asked.append(images)
        logits = np.roll(read(images / 255.0), self.shift, axis=-1)
        return {"logits": logits, "pool": images.reshape(len(images), -1) / 255.0}

    def accuracy(self, images, labels, batch):
        return float((self.outputs(images, batch)["logits"].argmax(-1) == labels).mean())


@pytest.fixture
def judged(monkeypatch):
    """A judge that is right, and a student that has learned another code; both know what they were asked."""
    found = {"judge": Reader(), "cas": Reader(shift=1)}
    monkeypatch.setattr(measure, "features_of", lambda plan, dataset: "judge")
    monkeypatch.setattr(measure, "judge_of", lambda work: found["judge"])
    monkeypatch.setattr(measure, "measuring_classifier", lambda work, name, trained_on: found[name])
    return found


def with_samples(work, shows, labels):
    work.run.write_arrays("samples", images=coded(shows, 9), labels=np.asarray(labels))
    return work.run.samples["images"]


def test_class_agreement_is_with_the_class_asked_for(tmp_path, judged):
    work = make_work(tmp_path, **{"evaluation.cas_steps": 0})
    shows, labels = [0, 1, 2, 3, 4, 4, 4, 4], [0, 1, 2, 3, 4, 5, 6, 7]
    drawn = with_samples(work, shows, labels)
    arrays = measure.evaluate_samples(work)
    block, data = work.run.results["samples"], work.experiment.dataset
    assert block["class_agreement"] == 5 / 8
    assert block["class_agreement_standard_error"] == pytest.approx((5 / 8 * 3 / 8 / 8) ** 0.5)
    assert block["judge_accuracy_standard_error"] == 0
    np.testing.assert_array_equal(arrays["judge_predictions"], shows)
    np.testing.assert_array_equal(judged["judge"].asked[0], drawn)
    np.testing.assert_array_equal(judged["judge"].asked[1], data.x_test)
    assert block["judge_accuracy"] == 1.0
    distances = np.linalg.norm((drawn[:, None] / 255.0 - data.x_train[None] / 255.0).reshape(8, 60, -1), axis=-1)
    np.testing.assert_array_equal(arrays["nearest"], data.x_train[distances.argmin(1)])
    assert block["nearest_distance"]["samples_to_train"] == pytest.approx(np.median(distances.min(1)), rel=1e-4)


def test_samples_are_compared_with_the_reference_and_the_student_is_tested(tmp_path, judged, monkeypatch):
    for reference in ("train", "test"):
        work = make_work(
            tmp_path / reference,
            test_says=np.repeat(np.arange(10), 3),
            test_is=np.roll(np.repeat(np.arange(10), 3), 3),  # the truth is one class behind what the codes say
            **{"evaluation.reference": reference, "evaluation.k": 3, "evaluation.convention": "guided_diffusion",
               "seed": 4, "evaluation.cas_steps": 5},
        )  # fmt: skip
        given = {}

        def compare(*arguments, given=given, **named):
            given.update(a=arguments, k=named)
            return {"k": 3}, []

        monkeypatch.setattr(measure, "compare_samples", compare)
        drawn = with_samples(work, np.arange(10), np.arange(10))
        measure.evaluate_samples(work)
        data = work.experiment.dataset
        x, y = (data.x_train, data.y_train) if reference == "train" else (data.x_test, data.y_test)
        extractor, real, fake, names = given["a"]
        assert isinstance(extractor, Extractor)
        np.testing.assert_array_equal(real[0], x)
        np.testing.assert_array_equal(real[1], y)
        np.testing.assert_array_equal(fake[0], drawn)
        np.testing.assert_array_equal(fake[1], np.arange(10))
        assert names == data.class_names
        assert given["k"] == dict(k=3, convention="guided_diffusion", seed=4)
        block = work.run.results["generation"]
        assert block["reference"] == reference
        np.testing.assert_array_equal(judged["cas"].asked[-1], data.x_test)
        says = np.roll(read(data.x_test / 255.0), 1, axis=-1).argmax(-1)
        assert block["cas"] == pytest.approx((says == data.y_test).mean())
        assert block["cas_standard_error"] == pytest.approx((block["cas"] * (1 - block["cas"]) / 30) ** 0.5)


def test_the_student_learns_from_the_samples_alone(tmp_path):
    work = make_work(tmp_path, **{"evaluation.cas_steps": 7, "classifier.random_shift": 1})
    drawn = with_samples(work, [5, 6, 7], [1, 2, 3])
    job = images.make_cas_job(work)
    np.testing.assert_array_equal(job.arrays["x"], drawn)
    np.testing.assert_array_equal(job.arrays["y"], [1, 2, 3])
    np.testing.assert_array_equal(job.pools["x"], [0, 1, 2])
    assert (job.name, job.steps, job.batch_sizes) == ("cas", 7, {"x": 16})


def test_the_judge_learns_from_every_true_label_of_training_images(tmp_path):
    work = make_work(tmp_path, **{"evaluation.judge_steps": 9})
    job = images.judge_job(work.experiment)
    np.testing.assert_array_equal(job.arrays["x"], work.experiment.dataset.x_train)
    np.testing.assert_array_equal(job.arrays["y"], work.experiment.dataset.y_train)
    assert (job.name, job.steps) == ("judge", 9)
    assert job.remedy.startswith("lower config.evaluation.judge_learning_rate")
    assert np.exp(LOG_SIGMA) == pytest.approx(0.2)


def test_the_judge_learns_from_images_with_its_noise(tmp_path, monkeypatch):
    work, given = make_work(tmp_path, **{"evaluation.judge_steps": 9, "evaluation.judge_noise": 0.35}), []

    def loss(network, x, y, key, noise):
        given.append(noise)
        return jnp.zeros(()), {}

    monkeypatch.setattr(judge, "judge_loss", loss)
    job = images.judge_job(work.experiment)
    indices = {"x": np.zeros(16, np.int32)}
    jax.eval_shape(job.update, jax.eval_shape(job.init_state), job.arrays, job.frozen, indices, jax.random.key(0))
    assert set(given) == {0.35}


def test_likelihoods_are_asked_for_as_the_fields_say(tmp_path, monkeypatch):
    given = {}

    def bits(keys, score_fn, sde, images, **named):
        given.update(named, sde=sde)
        return jnp.full(len(images), 2.0)

    monkeypatch.setattr(likelihood, "bits_per_dim", bits)
    fields = {"evaluation.likelihood_images": 7, "evaluation.divergence": "exact"}
    work = make_work(tmp_path, **fields, **{"evaluation.likelihood_tolerance": 0.03})
    measure.evaluate_likelihood(work)
    assert given == dict(divergence="exact", tolerance=0.03, sde=work.experiment.sde)
    assert work.run.results["likelihood"] == {"bits_per_dim@7": 2.0, "divergence": "exact"}


def test_likelihood_is_of_test_images_under_the_score_network(tmp_path):
    """Of Gaussian data every pixel's density is known; the score network's shift is 0."""
    fields = {"evaluation.likelihood_images": 8, "evaluation.divergence": "exact", "evaluation.batch_size": 8}
    work = make_work(tmp_path, **fields, **{"evaluation.likelihood_tolerance": 1e-4})
    measure.evaluate_likelihood(work)
    chosen = np.random.default_rng(0).permutation(30)[:8]
    x = (work.experiment.dataset.x_test[chosen] + 0.5) / 256
    variance = 0.2**2 + 0.01**2
    nats = 0.5 * np.log(2 * np.pi * variance) + (x - 0.5) ** 2 / (2 * variance)
    expected = 8 + nats.mean() / np.log(2)
    found = work.run.results["likelihood"]
    assert found["bits_per_dim@8"] == pytest.approx(expected, abs=0.05)
    assert found["divergence"] == "exact"


def test_the_stage_draws_what_is_asked_for(tmp_path, monkeypatch):
    def fake(experiment, progress=None):
        def sample(parameters, keys, labels):
            noise = jax.vmap(lambda key: jax.random.uniform(key, (4, 4, 1), maxval=0.05))(keys)
            return labels[:, None, None, None] * STEP / 255 + noise + parameters[0]["shift"] + parameters[1]["shift"]

        return sample

    monkeypatch.setattr(samplers, "guided_sampler", fake)
    work = make_work(tmp_path, seed=7, **{"sampling.count": 20, "sampling.scale": 2.5, "sampling.steps": 6})
    work.known = {"score": {"shift": jnp.float32(0.01)}, "classifier": {"shift": jnp.float32(0.02)}}
    drawing.sample(work)
    labels = np.arange(20) % 10
    stored = work.run.samples
    np.testing.assert_array_equal(stored["labels"], labels)
    noise = jax.vmap(lambda key: jax.random.uniform(key, (4, 4, 1), maxval=0.05))(keys(20, 7))
    expected = np.round(255 * (labels[:, None, None, None] * STEP / 255 + np.asarray(noise) + 0.03))
    assert np.abs(stored["images"].astype(float) - expected).max() <= 1
    block = work.run.results["samples"]
    assert {k: v for k, v in block.items() if k != "seconds"} == dict(
        count=20, sampler="dpm_solver", steps=6, calls=6, scale=2.5
    )


def test_the_time_of_samples_counts_those_that_were_drawn_before(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "generate", lambda *_, first, **rest: np.zeros((20 - first, 4, 4, 1), np.uint8))
    work = make_work(tmp_path, **{"sampling.count": 20})
    work.run.record(samples={"seconds": 1000.0})
    work.run.write_arrays("samples", images=coded(np.arange(5), 1), labels=np.arange(5))
    drawing.sample(work)
    assert 1000 <= work.run.results["samples"]["seconds"] < 1100
    work.run.write_arrays("samples", images=coded([7, 8], 1), labels=np.array([7, 8]))  # others: none of them is kept
    drawing.sample(work)
    assert work.run.results["samples"]["seconds"] < 100


def test_long_measurements_move_a_bar_to_its_end(tmp_path, told, judged, monkeypatch):
    moved = {}

    class Bar:
        def __init__(self, what, total, unit="image"):
            self.total, self.n, self.what = total, 0, what

        def __enter__(self):
            return self

        def __exit__(self, *_):
            moved[self.what] = self.n, self.total

        def update(self, count):
            self.n += count

    monkeypatch.setattr(measure, "progress_bar", Bar)
    monkeypatch.setattr(likelihood, "bits_per_dim", lambda keys, score_fn, sde, images, **_: jnp.zeros(len(images)))
    work = make_work(tmp_path, **{"evaluation.likelihood_images": 7, "evaluation.cas_steps": 0})
    with_samples(work, np.arange(10), np.arange(10))
    measure.evaluate(work)
    assert moved == {
        "accuracy by noise": (3 * 12 + 30,) * 2,  # three times, twelve images of the curve; then every test image
        "nearest images": ((10 + 30) * 60,) * 2,
        "likelihood": (7, 7),
    }
