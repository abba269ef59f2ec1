"""Which labels training may see under each regime, what a run says of its data, and data that do not fit a config."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.errors import UserError
from scoressl_jax.experiment import data
from scoressl_jax.experiment.config import default_config, validate
from scoressl_jax.experiment.images import IMAGES

RNG = np.random.default_rng(0)
Y = np.arange(30) % 3


def dataset(y=Y, channels=1):
    x = RNG.integers(0, 256, (len(y), 4, 4, channels)).astype(np.uint8)
    return make_dataset("own", x, y, x[:9], np.arange(9) % 3, ("a", "b", "c"))


def config_of(regime="ssl", **fields):
    config = default_config()
    config.regime = regime
    config.data.update({"num_labels": 6} if regime != "pu" else {}, **fields)
    return config


def write_npz(path, dataset):
    arrays = {name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(path, **arrays)
    return path


def test_training_sees_the_labels_of_the_budget_alone():
    for regime in ("supervised", "ssl"):
        prepared = data.split_labels(config_of(regime), dataset())
        labeled, seen = prepared.split.labeled, prepared.y_visible
        assert np.bincount(Y[labeled]).tolist() == [2, 2, 2]
        np.testing.assert_array_equal(seen[labeled], Y[labeled])
        assert (np.delete(seen, labeled) == -1).all()
        np.testing.assert_array_equal(prepared.split.unlabeled, np.delete(np.arange(30), labeled))
        other = data.split_labels(config_of(regime, split_seed=1), dataset())
        assert set(other.split.labeled) != set(labeled)
    everything = data.split_labels(config_of(num_labels=0), dataset(np.where(np.arange(30) < 12, Y, -1)))
    assert everything.split.labeled.tolist() == list(range(12))


def test_labels_of_a_file(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labeled": [3, 7, 20]}))
    prepared = data.split_labels(config_of(labels_file=str(path)), dataset())
    assert np.flatnonzero(prepared.y_visible >= 0).tolist() == [3, 7, 20]
    hidden = np.where(np.arange(30) == 7, -1, Y)
    with pytest.raises(UserError, match="names images that have no label in own") as error:
        data.split_labels(config_of(labels_file=str(path)), dataset(hidden))
    assert str(path) in str(error.value)


def test_positives_and_unlabelled():
    prepared = data.split_labels(config_of("pu", positive_classes=(0, 2), num_positive=5), dataset())
    binary = np.isin(Y, (0, 2)).astype(int)
    np.testing.assert_array_equal(prepared.dataset.y_train, binary)
    assert prepared.dataset.class_names == ("negative", "positive")
    seen = prepared.y_visible
    assert (len(prepared.split.labeled), (seen == 1).sum(), (seen == 0).sum(), (seen == -1).sum()) == (5, 5, 0, 25)
    assert (binary[prepared.split.labeled] == 1).all()
    named = data.split_labels(config_of("pu", positive_classes=("c", "a"), num_positive=5), dataset())
    np.testing.assert_array_equal(named.y_visible, seen)
    with pytest.raises(UserError, match="config.data.positive_classes is empty"):
        data.split_labels(config_of("pu"), dataset())
    two = make_dataset("two", np.zeros((8, 4, 4, 1), np.uint8), np.arange(8) % 2, np.zeros((2, 4, 4, 1), np.uint8),
                       np.arange(2), ("no", "yes"))  # fmt: skip
    prepared = data.split_labels(config_of("pu", num_positive=2), two)
    assert prepared.dataset.class_names == ("no", "yes")
    assert (two.y_train[prepared.split.labeled] == 1).all()


def numbered(names):
    """A set whose images all have the value of their class's name, in this order of the classes."""
    y = np.arange(3 * len(names)) % len(names)
    x = np.array([int(name) for name in names], np.uint8)[y][:, None, None, None] * np.ones((4, 4, 1), np.uint8)
    return make_dataset("numbered", x, y, x, y, names)


def test_positive_classes_go_by_name():
    natural, lexical = [str(i) for i in range(12)], sorted(str(i) for i in range(12))
    for names, given in ((natural, (2, "11")), (lexical, ("2", "11"))):
        prepared = data.split_labels(config_of("pu", positive_classes=given), numbered(names))
        assert set(prepared.dataset.x_train[prepared.split.labeled].ravel().tolist()) == {2, 11}
    for given, words in (((2,), "2 may be the class called '2' or class number 2, which is called '10'"),
                         (("12",), "there is no class '12'"),
                         (tuple(lexical), "name some, but not all, of the 12 classes of numbered")):  # fmt: skip
        with pytest.raises(UserError) as error:
            data.split_labels(config_of("pu", positive_classes=given), numbered(lexical))
        assert str(error.value).startswith("config.data.positive_classes=(")
        assert words in str(error.value)


def test_labelled_positives_of_a_file(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"labeled": [2, 3, 20]}))
    config = config_of("pu", positive_classes=("a", "c"), labels_file=str(path), num_positive=7)
    validate(config)
    prepared = data.split_labels(config, dataset())
    assert prepared.split.labeled.tolist() == [2, 3, 20]
    assert np.flatnonzero(prepared.y_visible == 1).tolist() == [2, 3, 20]
    assert (np.delete(prepared.y_visible, [2, 3, 20]) == -1).all()
    hidden = np.where(np.arange(30) == 20, -1, Y)
    for indices, y, wrong in (([2, 4, 7], Y, 4), ([2, 3, 20], hidden, 20)):
        path.write_text(json.dumps({"labeled": indices}))
        with pytest.raises(UserError, match=f"{path} names image {wrong}, which is not of a positive class"):
            data.split_labels(config, dataset(y))


def test_what_a_run_says_of_its_data():
    prepared = data.split_labels(config_of(), dataset())
    facts = prepared.facts
    fingerprint = facts.pop("fingerprint")
    assert facts == {
        "name": "own", "class_names": ["a", "b", "c"], "image_shape": [4, 4, 1], "num_classes": 3, "num_train": 30,
        "num_labeled": 6, "num_unlabeled": 24, "num_hidden": 24, "num_test": 9,
    }  # fmt: skip
    assert fingerprint.keys() == {"images", "labels", "true_labels", "test", "classes"}
    json.dumps(facts | fingerprint)
    some = data.split_labels(config_of(), dataset(np.where(np.arange(30) < 20, Y, -1))).facts
    assert (some["num_labeled"], some["num_unlabeled"], some["num_hidden"]) == (6, 24, 14)
    more = data.split_labels(config_of(num_labels=9), prepared.dataset).facts["fingerprint"]
    assert {part for part in more if more[part] != fingerprint[part]} == {"labels"}


def test_when_the_class_prior_is_estimated():
    for weight, given, estimated in ((1.0, 0.0, True), (1.0, 0.3, False), (0.0, 0.0, False)):
        config = config_of("pu", class_prior=given)
        config.classifier.terms.prior = weight
        assert data.is_estimated(config) == estimated


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (config_of("ssl", num_labels=30), "regime ssl needs unlabelled images and none are left"),
        (config_of("ssl", num_labels=31), "num_labels=31"),
        (config_of("pu", positive_classes=(1,), num_positive=1), "1 labelled positives and 29 unlabelled images"),
        (config_of("pu", positive_classes=(5,)), "positive_classes=(5,)"),
    ],
)
def test_budgets_that_the_data_cannot_give(config, words, tmp_path):
    config.data.update(name="npz", path=str(write_npz(tmp_path / "own.npz", dataset())))
    with pytest.raises(UserError) as error:
        data.prepare(config)
    assert words in str(error.value)


def test_budgets_that_they_can(tmp_path):
    path = str(write_npz(tmp_path / "own.npz", dataset()))
    for config in (
        config_of("supervised", num_labels=30),
        config_of("pu", positive_classes=(1,), num_positive=1, class_prior=0.3),
    ):
        config.data.update(name="npz", path=path)
        prepared = data.prepare(config)
        assert (prepared.dataset.name, len(prepared.dataset.x_train)) == ("own", 30)


def test_colours_need_three_channels():
    config = config_of()
    config.sampling.task = "colorization"
    with pytest.raises(UserError, match="colorization needs images of three channels: own has 1"):
        data.check_fit(config, data.split_labels(config, dataset()))
    data.check_fit(config, data.split_labels(config, dataset(channels=3)))


@pytest.mark.parametrize("name", ["npz", "folder"])
def test_own_data_need_a_path(name):
    config = config_of(name=name)
    with pytest.raises(UserError, match=rf"config.data.path is empty: give the {name} to read, --config.data.path"):
        data.prepare(config)


def test_each_source_gets_its_fields(monkeypatch):
    asked = []
    for module, function in ((data.npz, "load_npz"), (data.folder, "load_folder"), (data.tfds, "load_tfds")):
        tell = lambda *given, function=function, **named: asked.append((function, *given, *named.items()))  # noqa: E731
        monkeypatch.setattr(module, function, tell)
    data.load_dataset(config_of(name="npz", path="there.npz"))
    how = dict(fit="pad", background="red", skip_damaged=True)
    data.load_dataset(config_of(name="folder", path="there", image_size=32, **how))
    data.load_dataset(config_of(name="folder", path="there"))
    data.load_dataset(config_of(name="mnist", download=True))
    data.load_dataset(config_of(name="svhn_cropped", path="here"))
    assert asked == [
        ("load_npz", Path("there.npz")), ("load_folder", Path("there"), 32, *how.items()),
        ("load_folder", Path("there"), None, ("fit", "crop"), ("background", "white"), ("skip_damaged", False)),
        ("load_tfds", "mnist", None, True), ("load_tfds", "svhn_cropped", "here", False),
    ]  # fmt: skip
    assert data.load_dataset(config_of(name="digits")).name == "digits"


def test_neighbours_need_images_to_be_found_among():
    for fields in (dict(reference="test", features="pixels"), dict(reference="test"), dict(k=30)):
        config = config_of()
        config.evaluation.update({"k": 9} | fields)
        k, count = config.evaluation.k, 30 if fields.get("k") else 9
        with pytest.raises(UserError, match=f"config.evaluation.k is {k}, but own has {count} t"):
            data.check_fit(config, data.split_labels(config, dataset()))
        for allowed in (dict(k=k - 1), dict(features="none"), dict(features="judge", judge_steps=0)):
            config.evaluation.update({"k": k, "judge_steps": 500} | fields | allowed)
            data.check_fit(config, data.split_labels(config, dataset()))


def test_without_labels_for_a_judge_samples_are_compared_by_pixels():
    known, hidden = dataset(), dataset(np.where(np.arange(30) == 7, -1, Y))
    for features, steps, data_set, found in (
        ("judge", 5, known, "judge"), ("judge", 5, hidden, "pixels"), ("judge", 0, known, "none"),
        ("judge", 0, hidden, "none"), ("inception", 5, hidden, "inception"), ("none", 5, hidden, "none"),
    ):  # fmt: skip
        config = config_of()
        config.evaluation.update(features=features, judge_steps=steps)
        assert data.features_of(config.evaluation, data_set) == found
    config = config_of()
    config.evaluation.k = 30
    with pytest.raises(UserError, match="config.evaluation.k is 30, but own has 30 train"):
        data.check_fit(config, data.split_labels(config, hidden))


def test_notes_of_a_data_set_are_told():
    for regime, fields in (("ssl", {}), ("pu", {"positive_classes": ("a",)})):
        noted = dataclasses.replace(dataset(), notes=("val/ is the test set", "and so on"))
        prepared = data.split_labels(config_of(regime, **fields), noted)
        experiment = SimpleNamespace(dataset=prepared.dataset, split=prepared.split)
        assert IMAGES.described(experiment).endswith(" classes; val/ is the test set; and so on")


@pytest.mark.parametrize(
    ("name", "inside", "refused"),
    [
        ("folder", "unlabeled/run", True),
        ("folder", "test", True),
        ("folder", "runs/one", False),
        ("folder", "", False),
        ("folder", "../run", False),
        ("npz", "", True),
        ("npz", "run", False),
    ],
)
def test_a_run_among_its_own_data_would_read_itself(name, inside, refused, tmp_path):
    config = config_of(name=name, path=str(tmp_path / "mine"))
    workdir = tmp_path / "mine" / inside
    if not refused:
        data.check_apart(config, workdir)
        return
    with pytest.raises(UserError, match="lies among the images of --config.data.path=.*: name another"):
        data.check_apart(config, workdir)


def test_the_line_on_the_data_tells_of_images_that_come_twice(tmp_path):
    x = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.arange(12) % 2, x_test=x[:2], y_test=np.arange(2))
    prepared = data.prepare(config_of(name="npz", path=str(tmp_path / "a.npz"), num_labels=4))
    assert prepared.dataset.notes == ("2 test images that are among the training images too",)


@pytest.mark.parametrize(("name", "kind"), [("folder", "folder"), ("npz", "npz")])
def test_data_that_are_not_there_are_named_as_they_are_typed(name, kind, tmp_path):
    with pytest.raises(UserError) as error:
        data.prepare(config_of(name=name, path=str(tmp_path / "gone")))
    assert str(error.value) == (
        f"--config.data.path={tmp_path / 'gone'}: no such file or directory: was it renamed or moved? Give the path of "
        f"the {kind}"
    )


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("num_labels=9: lower num_labels", "--config.data.num_labels=9: lower --config.data.num_labels"),
        ("set image_size to resize", "set --config.data.image_size to resize"),
        ("with skip_damaged=True", "with --config.data.skip_damaged=True"),
        ("config.data.positive_classes=(1,): no", "config.data.positive_classes=(1,): no"),
        ("/a/num_labels/b and my_num_labels, num_labels.txt", "/a/num_labels/b and my_num_labels, num_labels.txt"),
    ],
)
def test_fields_are_named_as_they_are_typed(said, typed):
    assert data.as_typed(said) == typed


def test_too_many_labels_names_the_field_as_it_is_typed():
    with pytest.raises(UserError, match="^--config.data.num_labels=5000, but there are 1437 labelled training images"):
        data.prepare(config_of(name="digits", num_labels=5000))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(name="folder", path="mine"), "put some into mine/unlabeled/, or set --config.data.num_labels less than"),
        (dict(name="npz", path="a.npz"), "add some with label -1 in y_train, or set --config.data.num_labels"),
        (dict(name="mnist"), "none are left: set --config.data.num_labels less than there are labels, or --config."),
    ],
)
def test_without_unlabelled_images_it_says_where_they_go(fields, words):
    prepared = data.split_labels(config_of("ssl", num_labels=30), dataset())
    with pytest.raises(UserError) as error:
        data.check_fit(config_of("ssl", num_labels=30, **fields), prepared)
    assert words in str(error.value)
