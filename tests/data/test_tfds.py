"""TFDS sets: tiny real ones are prepared on the fly without TensorFlow, and MNIST from its original files with it."""

import gzip
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download import download_manager, resource

from scoressl_jax.data.tfds import load_tfds
from scoressl_jax.errors import UserError

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "../shared/data/mnist"
HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason="TensorFlow is not installed (the extra `tfds`)")


def image_of(index):
    return np.arange(index, index + 16, dtype=np.uint8).reshape(4, 4)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    # TFDS takes encoded images as file objects; an array would need TensorFlow to become a PNG.
    file.seek(0)
    return file


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """Image i has label i % 2 and the pixels of image_of(i); training images are 0..11, test images 12..15."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    SPLITS = {"train": range(12), "test": range(12, 16)}

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.FEATURES))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(indices) for split, indices in self.SPLITS.items()}

    def _generate_examples(self, indices):
        for i in indices:
            example = {"image": png(image_of(i)), "label": i % 2, "target": i % 2}
            yield i, {key: example[key] for key in self.FEATURES}


class TinyTargets(TinyImages):
    FEATURES = {"image": tfds.features.Image(shape=(4, 4, 1)), "target": tfds.features.ClassLabel(num_classes=2)}


class TinyRagged(TinyImages):
    FEATURES = TinyImages.FEATURES | {"image": tfds.features.Image(shape=(None, None, 1))}


class TinyDeep(TinyImages):
    FEATURES = TinyImages.FEATURES | {"image": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16)}


class TinyTrain(TinyImages):
    SPLITS = {"train": range(12)}


class TinyTest(TinyImages):
    SPLITS = {"test": range(12)}


class TinyStl(TinyImages):
    """As STL-10: its unlabelled images have the label -1, ours one that is not to be taken."""

    SPLITS = {"train": range(12), "test": range(12, 16), "unlabelled": range(16, 25)}


class TinyKept(TinyImages):
    """As of a competition: the labels of its test images, 20 and up, are kept back."""

    SPLITS = {"test": range(20, 24), "train": range(12), "validation": range(12, 16)}

    def _generate_examples(self, indices):
        for i, example in super()._generate_examples(indices):
            yield i, example | {"label": -1 if i >= 20 else example["label"]}


class TinyKeptAll(TinyKept):
    SPLITS = {"train": range(12), "test": range(20, 24), "valid": range(24, 26)}


class TinyOther(TinyImages):
    SPLITS = {"train": range(12), "unlabeled": range(16, 19), "validation": range(12, 16), "extra": range(30, 34)}


def prepare(builder_class, data_dir, file_format="array_record"):
    builder = builder_class(data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare()
    return Path(builder.data_dir)


def forbid_downloads(monkeypatch):
    def refuse(self, resource):
        raise AssertionError(f"{resource} would be downloaded")

    monkeypatch.setattr(download_manager.DownloadManager, "_download", refuse)


def error_of(*args, **kwargs):
    with pytest.raises(UserError) as caught:
        load_tfds(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_tiny(dataset):
    # The files hold the examples in an order of TFDS's own.
    parts = (dataset.x_train, dataset.y_train, range(12)), (dataset.x_test, dataset.y_test, range(12, 16))
    for x, y, indices in parts:
        order = x[:, 0, 0, 0]
        assert sorted(order) == list(indices)
        np.testing.assert_array_equal(x[..., 0], [image_of(i) for i in order])
        np.testing.assert_array_equal(y, order % 2)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (4, 4, 1)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.y_train.dtype == np.int32


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_reads_the_pixels_and_labels_that_were_prepared(tmp_path, file_format):
    prepare(TinyImages, tmp_path, file_format)
    check_tiny(load_tfds("tiny_images", data_dir=tmp_path))
    check_tiny(load_tfds("tiny_images:1.0.0", data_dir=tmp_path))


def test_reading_does_not_import_tensorflow(tmp_path):
    if HAS_TENSORFLOW:
        pytest.skip("TFDS itself imports TensorFlow where it is installed")
    prepare(TinyImages, tmp_path)
    program = """
import sys
from scoressl_jax.data import dataset, digits, folder, npz, splits, tfds
from scoressl_jax.errors import UserError
assert "tensorflow" not in sys.modules and "tensorflow_datasets" not in sys.modules
print(tfds.load_tfds("tiny_images", data_dir=sys.argv[1]).x_train.shape)
try:
    tfds.load_tfds("mnist", data_dir=sys.argv[1])
except UserError:
    print("not prepared")
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # No banner or warning of a library beside the lines of the program.
    assert (done.stdout, done.stderr) == ("(12, 4, 4, 1)\nnot prepared\n", "")


@needs_tensorflow
def test_tfrecord_gives_the_order_of_array_record(tmp_path):
    prepare(TinyImages, tmp_path / "tfrecord", "tfrecord")
    prepare(TinyImages, tmp_path / "array_record")
    dataset = load_tfds("tiny_images", data_dir=tmp_path / "tfrecord")
    check_tiny(dataset)
    np.testing.assert_array_equal(dataset.x_train, load_tfds("tiny_images", data_dir=tmp_path / "array_record").x_train)


def test_tfrecord_without_tensorflow_names_the_extra(tmp_path, monkeypatch):
    folder = prepare(TinyImages, tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    message = error_of("tiny_images", data_dir=tmp_path)
    assert str(folder) in message
    assert "tfrecord" in message
    assert "pip install 'scoressl_jax[tfds]'" in message
    assert "array_record" in message


def test_unprepared_set_says_where_it_looked_and_downloads_nothing(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was touched"))
    message = error_of("mnist", data_dir=tmp_path / "none")
    assert str(tmp_path / "none" / "mnist") in message
    assert "prepare it with download=True" in message
    assert not (tmp_path / "none").exists()


def test_preparing_without_tensorflow_names_the_extra(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert "pip install 'scoressl_jax[tfds]'" in error_of("mnist", data_dir=tmp_path, download=True)


@needs_tensorflow
def test_failed_download_is_one_line(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    message = error_of("mnist", data_dir=tmp_path, download=True)
    assert "could not be prepared" in message
    assert "would be downloaded" in message


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    prepare(TinyImages, tmp_path / "sets")
    check_tiny(load_tfds("tiny_images", data_dir="~/sets"))


@pytest.mark.parametrize("name", ["minst", "mnist:0.0.1", "mnist/large", "huggingface:mnist", "../mnist", ""])
def test_names_that_tfds_lacks(tmp_path, name):
    message = error_of(name, data_dir=tmp_path)
    assert name in message
    assert "name" in message


def test_sets_that_are_no_image_classification(tmp_path):
    for builder_class in (TinyTargets, TinyRagged, TinyDeep, TinyTrain):
        prepare(builder_class, tmp_path)
    assert "image, target" in error_of("tiny_targets", data_dir=tmp_path)
    assert "[None, None, 1]" in error_of("tiny_ragged", data_dir=tmp_path)
    assert "uint16" in error_of("tiny_deep", data_dir=tmp_path)
    assert "none called test or validation" in error_of("tiny_train", data_dir=tmp_path)
    prepare(TinyTest, tmp_path)
    assert "has the splits test, but none called train" in error_of("tiny_test", data_dir=tmp_path)


def parts(dataset):
    """Numbers of the training and of the test images, and of those without a label."""
    x = dataset.x_train[:, 0, 0, 0]
    return sorted(x.tolist()), sorted(dataset.x_test[:, 0, 0, 0].tolist()), sorted(x[dataset.y_train < 0].tolist())


def test_unlabelled_splits_join_the_training_images(tmp_path):
    prepare(TinyStl, tmp_path)
    dataset = load_tfds("tiny_stl", data_dir=tmp_path)
    assert parts(dataset) == ([*range(12), *range(16, 25)], [*range(12, 16)], [*range(16, 25)])
    known = dataset.y_train >= 0
    np.testing.assert_array_equal(dataset.y_train[known], dataset.x_train[known, 0, 0, 0] % 2)
    assert dataset.notes == ("the images of split unlabelled are without labels",)
    prepare(TinyImages, tmp_path)
    assert load_tfds("tiny_images", data_dir=tmp_path).notes == ()


def test_validation_serves_where_there_is_no_test_split(tmp_path):
    prepare(TinyOther, tmp_path)
    dataset = load_tfds("tiny_other", data_dir=tmp_path)
    assert parts(dataset) == ([*range(12), 16, 17, 18], [*range(12, 16)], [16, 17, 18])
    assert dataset.notes == (
        "split validation is the test set",
        "the images of split unlabeled are without labels",
        "splits not used: extra",
    )


def test_validation_serves_where_the_labels_of_the_test_split_are_kept_back(tmp_path):
    for builder_class in (TinyKept, TinyKeptAll):
        prepare(builder_class, tmp_path)
    dataset = load_tfds("tiny_kept", data_dir=tmp_path)
    assert parts(dataset) == ([*range(12)], [*range(12, 16)], [])
    np.testing.assert_array_equal(dataset.y_test, dataset.x_test[:, 0, 0, 0] % 2)
    why = "split validation is the test set, as the labels of test are not known"
    assert dataset.notes == (why, "splits not used: test")
    said = error_of("tiny_kept_all", data_dir=tmp_path)
    assert said.startswith("tiny_kept_all: the labels of test and valid are not known (-1), and accuracy is measured")


@pytest.mark.parametrize("damage", ["truncate", "remove", "info"])
def test_damaged_files(tmp_path, damage):
    folder = prepare(TinyImages, tmp_path)
    shard = next(folder.glob("*-train.array_record*"))
    if damage == "truncate":
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    elif damage == "remove":
        shard.unlink()
    else:
        (folder / "dataset_info.json").write_text("{")
    assert str(tmp_path) in error_of("tiny_images", data_dir=tmp_path)


def read_idx(name):
    data = gzip.decompress((MNIST / name).read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">i4", rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def sorted_rows(images, labels):
    rows = np.concatenate([images.reshape(len(images), -1), labels.astype(np.uint8)[:, None]], axis=1)
    return sorted(hashlib.md5(row.tobytes()).digest() for row in rows)


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason="the four original MNIST files are not in ../shared/data/mnist")
def test_mnist_is_prepared_from_the_original_files_and_read_back(tmp_path, monkeypatch):
    forbid_downloads(monkeypatch)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    # What TFDS finds in this folder, under names of its own, it does not download.
    for url, info in tfds.builder("mnist", data_dir=tmp_path).url_infos.items():
        cached = downloads / resource.get_dl_fname(url, info.checksum)
        cached.write_bytes((MNIST / info.filename).read_bytes())
        resource.write_info_file(url, cached, "mnist", info.filename, info)
    dataset = load_tfds("mnist", data_dir=tmp_path, download=True)
    assert list((tmp_path / "mnist").glob("*/mnist-train.array_record*"))
    train = read_idx("train-images-idx3-ubyte.gz"), read_idx("train-labels-idx1-ubyte.gz")
    test = read_idx("t10k-images-idx3-ubyte.gz"), read_idx("t10k-labels-idx1-ubyte.gz")
    assert sorted_rows(dataset.x_train, dataset.y_train) == sorted_rows(*train)
    assert sorted_rows(dataset.x_test, dataset.y_test) == sorted_rows(*test)
    assert dataset.class_names == tuple("0123456789")
