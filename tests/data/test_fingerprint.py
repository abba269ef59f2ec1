"""A data set's fingerprint: equal for equal contents, and what changes is told by the part that differs."""

import numpy as np
import pytest

from scoressl_jax.data.dataset import UNLABELED, make_dataset
from scoressl_jax.data.fingerprint import LENGTH, fingerprint, shared

PARTS = ("images", "labels", "true_labels", "test", "classes")
LABELS = np.array([0, 1, 2, 0, 1, 2, UNLABELED, UNLABELED])
VISIBLE = np.array([0, 1, 2, UNLABELED, UNLABELED, UNLABELED, UNLABELED, UNLABELED])


def contents(seed=0):
    """Fresh arrays: 8 images of which 6 have a label and 3 one that training may see, and 4 test images."""
    rng = np.random.default_rng(seed)
    pixels = lambda count: rng.integers(0, 256, (count, 4, 5, 3)).astype(np.uint8)  # noqa: E731
    return {
        "x_train": pixels(8),
        "y_train": LABELS.copy(),
        "x_test": pixels(4),
        "y_test": np.array([0, 1, 2, 0]),
        "class_names": ["cat", "dog", "owl"],
        "visible": VISIBLE.copy(),
        "name": "a set",
    }


def of(changed):
    held = dict(changed)
    visible = held.pop("visible")
    return fingerprint(make_dataset(**held), visible)


def changes(change):
    """The parts whose fingerprint `change(contents)`, which may alter or replace arrays, makes another."""
    held = contents()
    change(held)
    before, after = of(contents()), of(held)
    assert before.keys() == after.keys()
    return {part for part in before if before[part] != after[part]}


def test_parts_are_short_texts_that_differ():
    found = of(contents())
    assert tuple(found) == PARTS
    assert len(set(found.values())) == 5
    for text in found.values():
        assert len(text) == LENGTH
        assert set(text) <= set("0123456789abcdef")


def test_fingerprints_stay_those_of_the_runs_on_disk():
    """They are kept in data.json: another way of computing them would make every finished run's data other data."""
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    dataset = make_dataset("any", x, np.array([0, 1]), x[:1] + 100, np.array([1]), ("a", "b"))
    assert fingerprint(dataset, np.array([0, UNLABELED])) == {
        "images": "89bba0ffa94b5afd5018",
        "labels": "bed7ae0fa7ac76c81b81",
        "true_labels": "9c0d983e62525b1622fa",
        "test": "8f2bc309a57bbf3228bf",
        "classes": "770b2fae14c64ee98cdf",
    }


def test_equal_contents_have_equal_fingerprints_whatever_the_name_of_the_set_and_the_layout_in_memory():
    held = contents() | {"name": "another"}
    held["x_train"] = np.asfortranarray(held["x_train"])
    held["visible"] = held["visible"].astype(np.int8)
    assert of(held) == of(contents())
    assert of(contents(seed=1)) != of(contents())


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_images_does_not_count(seed):
    def shuffle(held):
        rng = np.random.default_rng(seed)
        train, test = rng.permutation(8), rng.permutation(4)
        for name in ("x_train", "y_train", "visible"):
            held[name] = held[name][train]
        for name in ("x_test", "y_test"):
            held[name] = held[name][test]

    assert changes(shuffle) == set()


def test_labels_move_with_their_images():
    """The same images and as many of each label, but on other images."""

    def swap(name, i, j):
        def change(held):
            held[name][[i, j]] = held[name][[j, i]]

        return change

    assert changes(swap("visible", 0, 1)) == {"labels"}
    assert changes(swap("y_train", 0, 1)) == {"true_labels"}
    assert changes(swap("x_train", 0, 1)) == {"labels", "true_labels"}
    assert changes(swap("x_train", 6, 7)) == set()  # both without any label
    assert changes(swap("y_test", 0, 1)) == {"test"}
    assert changes(swap("y_test", 0, 3)) == set()  # both cats


def at(name, index, value):
    def change(held):
        assert held[name][index] != value
        held[name][index] = value

    return change


@pytest.mark.parametrize("pixel", [(0, 0, 0, 0), (7, 3, 4, 2), (4, 2, 1, 1)])
def test_one_changed_pixel_of_a_training_image(pixel):
    def change(held):
        held["x_train"][pixel] ^= 1

    assert changes(change) == {"images", "labels", "true_labels"}


def test_one_changed_pixel_of_a_test_image():
    def change(held):
        held["x_test"][3, 1, 1, 0] ^= 128

    assert changes(change) == {"test"}


def test_a_changed_label():
    def visible(held):
        held["visible"][0] = held["y_train"][0] = 1

    assert changes(visible) == {"labels", "true_labels"}
    assert changes(at("y_train", 3, 1)) == {"true_labels"}  # one that training does not see
    assert changes(at("y_test", 0, 2)) == {"test"}


def test_one_more_label_leaves_the_images():
    """By a larger budget; and by hand, which moves the image to the folder of its class."""

    def by_hand(held):
        held["y_train"][7] = held["visible"][7] = 2
        order = [7, *range(7)]
        for name in ("x_train", "y_train", "visible"):
            held[name] = held[name][order]

    assert changes(at("visible", 3, 0)) == {"labels"}
    assert changes(by_hand) == {"labels", "true_labels"}


def test_a_hidden_label_that_is_taken_away():
    assert changes(at("y_train", 5, UNLABELED)) == {"true_labels"}


def test_changed_class_names():
    def rename(held):
        held["class_names"] = ["cat", "dog", "bird"]

    def split_elsewhere(held):
        held["class_names"] = ["cat', 'dog", "owl", "bird"]

    def more(held):
        held["class_names"] = ["cat", "dog", "owl", "bee"]
        held["y_test"][3] = 3

    assert changes(rename) == {"classes"}
    assert changes(split_elsewhere) == {"classes"}
    assert changes(more) == {"classes", "test"}


def test_one_image_more_one_fewer_and_one_twice():
    def more(held):
        held["x_train"] = np.concatenate([held["x_train"], np.zeros((1, 4, 5, 3), np.uint8)])
        held["y_train"], held["visible"] = np.append(held["y_train"], -1), np.append(held["visible"], -1)

    def twice(held):
        held["x_train"] = np.concatenate([held["x_train"], held["x_train"][:1]])
        held["y_train"], held["visible"] = np.append(held["y_train"], 0), np.append(held["visible"], 0)

    def fewer(held):
        for name in ("x_train", "y_train", "visible"):
            held[name] = held[name][:-1]

    def fewer_test(held):
        held["x_test"], held["y_test"] = held["x_test"][1:], held["y_test"][1:]

    for change in (more, twice, fewer):
        assert changes(change) == {"images", "labels", "true_labels"}
    assert changes(fewer_test) == {"test"}


def test_the_shape_of_an_image_counts():
    def turned(held):
        held["x_train"], held["x_test"] = (held[name].reshape(-1, 5, 4, 3) for name in ("x_train", "x_test"))

    assert changes(turned) == {"images", "labels", "true_labels", "test"}


def test_images_that_come_twice_are_told():
    held = contents()
    held.pop("visible")
    assert shared(make_dataset(**held)) == []
    held["x_test"][:2] = held["x_train"][[3, 6]]
    assert shared(make_dataset(**held)) == ["2 test images that are among the training images too"]
    held["x_train"][7] = held["x_train"][0]  # without a label
    assert shared(make_dataset(**held)) == ["2 test images that are among the training images too"]
    held["x_train"][[1, 6, 7]] = held["x_train"][0]  # with another label, and twice without any
    assert shared(make_dataset(**held)) == [
        "1 test images that are among the training images too",
        "1 training images with several labels",
    ]
