import dataclasses
import json

import numpy as np
import pytest

from scoressl_jax.data.dataset import make_dataset
from scoressl_jax.data.splits import balanced_split, binarize, class_numbers, load_split, positive_split, save_split
from scoressl_jax.errors import UserError

# 50 labelled images of each of 10 classes, shuffled, and 20 unlabelled ones.
Y = np.random.default_rng(3).permutation(np.repeat(np.arange(-1, 10), [20] + [50] * 10))


def error_of(function, *args):
    with pytest.raises(UserError) as caught:
        function(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_partition(split, count):
    assert split.labeled.dtype == split.unlabeled.dtype == np.int32
    np.testing.assert_array_equal(np.sort(np.concatenate([split.labeled, split.unlabeled])), np.arange(count))


@pytest.mark.parametrize("num_labels", [10, 13, 100, 499, 500])
def test_balanced_split_is_even_and_a_partition(num_labels):
    split = balanced_split(Y, num_labels, 10, seed=0)
    counts = np.bincount(Y[split.labeled], minlength=10)
    assert counts.sum() == num_labels
    assert counts.max() - counts.min() == (num_labels % 10 != 0)
    check_partition(split, len(Y))


@pytest.mark.parametrize("everything", [None, 0])
def test_no_budget_takes_every_label(everything):
    split = balanced_split(Y, everything, 10, seed=0)
    np.testing.assert_array_equal(split.labeled, np.flatnonzero(Y >= 0))
    check_partition(split, len(Y))


def test_balanced_split_depends_on_the_seed_alone():
    first, again, other = (balanced_split(Y, 100, 10, seed).labeled for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    # Two random hundreds of 500 share 20 on average.
    assert len(np.intersect1d(first, other)) < 40


def test_remainder_goes_to_classes_in_a_seeded_order():
    favoured = {tuple(np.bincount(Y[balanced_split(Y, 13, 10, seed).labeled])) for seed in range(8)}
    assert len(favoured) > 4


def test_larger_budget_contains_the_smaller():
    small, large = (balanced_split(Y, count, 10, seed=5).labeled for count in (23, 61))
    assert np.isin(small, large).all()


def test_draws_are_uniform_within_a_class():
    pool = np.flatnonzero(Y == 4)
    counts = sum(np.isin(pool, balanced_split(Y, 250, 10, seed).labeled).astype(int) for seed in range(200))
    # Each image is drawn with probability 1/2: 100 of 200, standard deviation 7.
    assert 65 < counts.min() < counts.max() < 135


def test_balanced_split_errors():
    assert "there are 500 labelled" in error_of(balanced_split, Y, 501, 10, 0)
    assert "num_labels=-1" in error_of(balanced_split, Y, -1, 10, 0)
    assert "would have no labelled image" in error_of(balanced_split, Y, 9, 10, 0)
    assert "class 10 would have" in error_of(balanced_split, Y, None, 11, 0)
    rare = np.repeat([0, 1], [3, 50])
    assert "needs 5 images of class 0, but there are 3" in error_of(balanced_split, rare, 10, 2, 0)
    assert "split_seed=-1" in error_of(balanced_split, Y, 100, 10, -1)


def test_positive_split_labels_only_positives():
    split = positive_split(Y, (1, 3, 5), 40, seed=0)
    assert len(split.labeled) == 40
    assert set(Y[split.labeled]) == {1, 3, 5}
    check_partition(split, len(Y))
    np.testing.assert_array_equal(split.labeled, positive_split(Y, (1, 3, 5), 40, seed=0).labeled)
    assert not np.array_equal(split.labeled, positive_split(Y, (1, 3, 5), 40, seed=1).labeled)
    np.testing.assert_array_equal(positive_split(Y, [7], None, seed=0).labeled, np.flatnonzero(Y == 7))


def test_positive_split_errors():
    assert "there are 100 positive" in error_of(positive_split, Y, (0, 1), 101, 0)
    assert "num_positive=-5" in error_of(positive_split, Y, (0, 1), -5, 0)
    assert "positive_classes=(12,)" in error_of(positive_split, Y, (12,), 5, 0)
    assert "positive_classes=(-1,)" in error_of(positive_split, Y, (-1,), 5, 0)
    assert "positive_classes=()" in error_of(positive_split, Y, (), 5, 0)


@pytest.mark.parametrize(
    ("names", "given", "numbers"),
    [
        ("0 1 2 3 4", (1, "3"), [1, 3]),
        ("0 1 10 2", ("2", "10"), [3, 2]),  # in an order that is not that of the numbers
        ("cat dog owl", ("owl", 0), [2, 0]),
        ("cat dog 2", (2, "2"), [2, 2]),
        ("cat dog 2", (1,), [1]),
        ("00 01 02", (2, "01"), [2, 1]),
        ("1 2 3", ("1", "3"), [0, 2]),
    ],
)
def test_classes_go_by_their_names(names, given, numbers):
    assert class_numbers(tuple(names.split()), given) == numbers


@pytest.mark.parametrize(
    ("names", "given", "words"),
    [
        ("0 1 10 2", 2, "2 may be the class called '2' or class number 2, which is called '10': name it as text"),
        ("1 2 3", 1, "1 may be the class called '1' or class number 1, which is called '2'"),
        ("1 2 3", 3, "3 may be the class called '3', another number: name it as text, ('3',)"),
        ("01 02", 1, "the class called '01' or class number 1, which is called '02': name it as text, ('01',)"),
        ("cat 2 dog", 2, "the class called '2' or class number 2, which is called 'dog'"),
        ("1 2 3", 0, "there is no class 0: name some of 1, 2, 3"),
        ("cat dog", 2, "there is no class 2: name some of cat, dog"),
        ("cat dog", -1, "there is no class -1"),
        ("cat dog", "bird", "there is no class 'bird': name some of cat, dog"),
        ("0 1", "00", "there is no class '00'"),
        ("cat dog", 1.0, "1.0 is no class"),
        ("cat dog", True, "True is no class"),
    ],
)
def test_what_is_no_class_or_may_be_two(names, given, words):
    message = error_of(class_numbers, tuple(names.split()), (given,))
    assert message.startswith(f"positive_classes=({given!r},): ")
    assert words in message


def test_many_classes_are_not_all_listed():
    names = tuple(f"class {i}" for i in range(300))
    assert error_of(class_numbers, names, ("none",)).endswith("class 18, class 19 and 280 more")


def many_classes():
    return make_dataset("many", np.zeros((len(Y), 2, 2), np.uint8), Y, np.zeros((10, 2, 2), np.uint8), np.arange(10))


def test_binarize():
    binary = binarize(many_classes(), (2, 9))
    np.testing.assert_array_equal(binary.y_train == 1, (Y == 2) | (Y == 9))
    np.testing.assert_array_equal(binary.y_train == -1, Y == -1)
    np.testing.assert_array_equal(binary.y_test, [0, 0, 1, 0, 0, 0, 0, 0, 0, 1])
    assert (binary.num_classes, binary.class_names) == (2, ("negative", "positive"))
    assert binary.y_train.dtype == np.int32
    assert binarize(dataclasses.replace(many_classes(), notes=("a", "b")), (2,)).notes == ("a", "b")


@pytest.mark.parametrize("positive_classes", [(), (10,), (-1, 2), tuple(range(10))])
def test_binarize_needs_some_but_not_all_classes(positive_classes):
    assert f"positive_classes={positive_classes}" in error_of(binarize, many_classes(), positive_classes)


def test_split_survives_its_file(tmp_path):
    split = balanced_split(Y, 100, 10, seed=2)
    save_split(tmp_path / "split.json", split, seed=2)
    content = json.loads((tmp_path / "split.json").read_text())
    assert (content["labeled"], content["unlabeled_count"], content["seed"]) == (split.labeled.tolist(), 420, 2)
    loaded = load_split(tmp_path / "split.json", len(Y))
    np.testing.assert_array_equal(loaded.labeled, split.labeled)
    np.testing.assert_array_equal(loaded.unlabeled, split.unlabeled)


def test_index_files_of_others(tmp_path):
    (tmp_path / "a.txt").write_text("7\n\n0\r\n 3 \n")
    np.save(tmp_path / "a.npy", np.array([7, 0, 3], np.int64))
    (tmp_path / "a.json").write_text('{"labeled": [7, 0, 3]}')
    for name in ("a.txt", "a.npy", "a.json"):
        split = load_split(str(tmp_path / name), 9)
        np.testing.assert_array_equal(split.labeled, [0, 3, 7])
        check_partition(split, 9)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.txt", "1\n9\n", "9 is not in 0..8"),
    ("a.txt", "1\n-1\n", "-1 is not in 0..8"),
    ("a.txt", "1\n2\n1\n", "1 comes twice"),
    ("a.txt", "1\n2.5\n", "malformed"),
    ("a.txt", "1, 2\n", "malformed"),
    ("a.txt", b"\xff\xfe\x00", "malformed"),
    ("a.txt", "\n", "holds no index"),
    ("a.json", '{"labeled": []}', "holds no index"),
    ("a.json", '{"labeled": [1, 2', "malformed"),
    ("a.json", '{"labels": [1, 2]}', "malformed"),
    ("a.json", "[1, 2]", "malformed"),
    ("a.json", '{"labeled": [1.5]}', "malformed"),
    ("a.json", '{"labeled": [true]}', "malformed"),
    ("a.json", '{"labeled": "12"}', "malformed"),
    ("a.json", '{"labeled": [1, 2], "unlabeled_count": 50}', "of 52 training images, but there are 9"),
    ("a.npy", "text", "malformed"),
    ("a.npy", "", "malformed"),
])
def test_bad_index_files(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    message = error_of(load_split, tmp_path / name, 9)
    assert str(tmp_path / name) in message
    assert words in message


@pytest.mark.parametrize("array", [np.array([1.0, 2.0]), np.array([[1, 2]]), np.array([1, None])])
def test_bad_index_arrays(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert "malformed" in error_of(load_split, tmp_path / "a.npy", 9)


def test_archive_is_no_index_array(tmp_path):
    np.savez(tmp_path / "a.npz", labeled=[1, 2])
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert "malformed" in error_of(load_split, tmp_path / "a.npy", 9)


def test_missing_index_file_and_folder(tmp_path):
    assert str(tmp_path / "none.json") in error_of(load_split, tmp_path / "none.json", 9)
    assert "directory" in error_of(load_split, tmp_path, 9)


@pytest.mark.parametrize(("name", "text"), [("a.txt", "1\r\n4\r\n"), ("a.json", '{"labeled": [1, 4]}')])
def test_files_of_a_windows_editor_begin_with_a_mark(name, text, tmp_path):
    (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
    assert load_split(tmp_path / name, 6).labeled.tolist() == [1, 4]
