import numpy as np
import pytest
from PIL import Image

from scoressl_jax.data.folder import load_folder
from scoressl_jax.data.splits import balanced_split
from scoressl_jax.errors import UserError


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


def grey(value, shape=(4, 6)):
    return np.full(shape, value, np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Two classes of grey 4x6 images; every image has a value of its own."""
    root = tmp_path / "photos"
    for name, value in {"labeled/dog/b": 2, "labeled/dog/a": 1, "labeled/cat/a": 3, "unlabeled/a": 4, "unlabeled/b": 5,
                        "test/cat/a": 6, "test/dog/a": 7}.items():
        write(root / f"{name}.png", grey(value))
    return root


@pytest.fixture
def positives(tmp_path):
    root = tmp_path / "positives"
    for name, value in {"positive/a": 1, "unlabeled/a": 2, "test/negative/a": 3, "test/positive/a": 4}.items():
        write(root / f"{name}.png", grey(value))
    return root


def error_of(path, *args):
    with pytest.raises(UserError) as caught:
        load_folder(path, *args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_follow_the_folders_and_order_the_names(photos):
    dataset = load_folder(str(photos))
    assert (dataset.name, dataset.class_names, dataset.image_shape) == ("photos", ("cat", "dog"), (4, 6, 1))
    np.testing.assert_array_equal(dataset.x_train[:, 0, 0, 0], [3, 1, 2, 4, 5])
    np.testing.assert_array_equal(dataset.y_train, [0, 1, 1, -1, -1])
    np.testing.assert_array_equal(dataset.x_test[:, 0, 0, 0], [6, 7])
    np.testing.assert_array_equal(dataset.y_test, [0, 1])
    np.testing.assert_array_equal(balanced_split(dataset.y_train, None, 2, seed=0).labeled, [0, 1, 2])


def test_positive_unlabelled_layout(positives):
    dataset = load_folder(positives)
    assert dataset.class_names == ("negative", "positive")
    np.testing.assert_array_equal(dataset.y_train, [1, -1])
    np.testing.assert_array_equal(dataset.y_test, [0, 1])
    np.testing.assert_array_equal(dataset.x_test[:, 0, 0, 0], [3, 4])


def test_hidden_files_are_ignored(photos):
    for folder in ("", "labeled", "labeled/cat", "unlabeled", "test"):
        (photos / folder / ".DS_Store").write_bytes(b"x")
    assert len(load_folder(photos).x_train) == 5


def test_one_colour_image_makes_all_rgb(photos):
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
    write(photos / "unlabeled/c.PNG", colour)
    dataset = load_folder(photos)
    assert dataset.image_shape == (4, 6, 3)
    np.testing.assert_array_equal(dataset.x_train[-1], colour)
    np.testing.assert_array_equal(dataset.x_train[0], np.full((4, 6, 3), 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_modes(photos, mode):
    Image.fromarray(grey(255)).convert(mode).save(photos / "labeled/cat/a.png")
    dataset = load_folder(photos)
    assert dataset.image_shape == (4, 6, 1 if mode in ("1", "L", "LA") else 3)
    assert (dataset.x_train[0] == 255).all()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "JPG"])
def test_jpeg(photos, suffix):
    write(photos / f"labeled/cat/b.{suffix}", grey(200), format="JPEG")
    assert abs(int(load_folder(photos).x_train[1, 0, 0, 0]) - 200) <= 2


def test_camera_rotation_is_applied(photos):
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    write(photos / "labeled/cat/a.png", pixels, exif=exif)
    np.testing.assert_array_equal(load_folder(photos).x_train[0, ..., 0], pixels[::-1, ::-1])


def test_resizing_is_antialiased(photos):
    # A fine chequerboard must become its mean, not one of its two values.
    write(photos / "unlabeled/a.png", np.indices((64, 96)).sum(0) % 2 * 255)
    dataset = load_folder(photos, image_size=8)
    assert dataset.image_shape == (8, 8, 1)
    assert abs(dataset.x_train[3].astype(int) - 127).max() <= 3


def test_mixed_sizes_need_image_size(photos):
    write(photos / "test/dog/b.png", grey(0, (5, 7)))
    message = error_of(photos)
    assert str(photos / "test/dog/b.png") in message
    assert "7x5" in message
    assert "6x4" in message
    assert "image_size" in message
    assert "image_size=0" in error_of(photos, 0)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_unreadable_image_is_named(photos, damage):
    path = photos / "unlabeled/b.png"
    write(path, np.random.default_rng(0).integers(0, 256, (4, 6, 3)))
    path.write_bytes({"truncated": path.read_bytes()[:60], "empty": b"", "text": b"no image"}[damage])
    assert f"{path} cannot be read as an image" in error_of(photos)


def test_truncated_jpeg_is_named(photos):
    path = photos / "unlabeled/b.jpg"
    write(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    path.write_bytes(path.read_bytes()[:-500])
    assert f"{path} cannot be read as an image" in error_of(photos, 8)


def test_deep_image_is_named(photos):
    Image.fromarray(np.full((4, 6), 40000, np.uint16)).save(photos / "unlabeled/c.png")
    assert f"{photos / 'unlabeled/c.png'} has more than 8 bits" in error_of(photos)


@pytest.mark.parametrize("folder", ["labeled/cat", "unlabeled", "test/dog"])
def test_other_files_are_named(photos, folder):
    (photos / folder / "notes.txt").write_text("hello")
    assert f"{photos / folder / 'notes.txt'} is no PNG or JPEG" in error_of(photos)


def test_image_beside_the_class_folders_is_named(photos):
    write(photos / "labeled/loose.png", grey(0))
    assert f"{photos / 'labeled/loose.png'}: Not a directory" in error_of(photos)


def test_folder_among_images_is_named(photos):
    (photos / "unlabeled/more").mkdir()
    assert str(photos / "unlabeled/more") in error_of(photos)


@pytest.mark.parametrize("folder", ["labeled/bird", "test/bird"])
def test_empty_class_is_named(photos, folder):
    write(photos / "labeled/bird/a.png", grey(0))
    write(photos / "test/bird/a.png", grey(0))
    (photos / folder / "a.png").unlink()
    assert f"{photos / folder} is empty" in error_of(photos)


def test_empty_root_and_missing_root(tmp_path):
    assert f"{tmp_path} is empty" in error_of(tmp_path)
    assert f"{tmp_path / 'none'}: No such file" in error_of(tmp_path / "none")


def test_test_class_without_labelled_images(photos):
    write(photos / "test/cow/a.png", grey(0))
    message = error_of(photos)
    assert str(photos / "test/cow") in message
    assert "cat, dog" in message


@pytest.mark.parametrize(("layout", "advice"), [("photos", "test/<class>/"), ("positives", "test/negative/")])
def test_missing_test_folder_says_how_to_make_one(request, layout, advice):
    root = request.getfixturevalue(layout)
    (root / "test").rename(root.parent / "elsewhere")
    message = error_of(root)
    assert f"{root / 'test'} is missing" in message
    assert advice in message


def test_both_or_no_layouts(photos, positives):
    (positives / "positive").rename(photos / "positive")
    assert f"{photos} must hold either" in error_of(photos)
    assert f"{positives} must hold either" in error_of(positives)


def test_positive_layout_needs_unlabelled_and_both_test_classes(positives):
    (positives / "test/negative").rename(positives.parent / "negative")
    assert "both test/negative/ and test/positive/" in error_of(positives)
    (positives.parent / "negative").rename(positives / "test/negative")
    (positives / "unlabeled").rename(positives.parent / "unlabeled")
    assert f"{positives / 'unlabeled'}: No such file" in error_of(positives)
