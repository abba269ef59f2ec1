import os

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
    for name, value in {
        "labeled/dog/b": 2,
        "labeled/dog/a": 1,
        "labeled/cat/a": 3,
        "unlabeled/a": 4,
        "unlabeled/b": 5,
        "test/cat/a": 6,
        "test/dog/a": 7,
    }.items():
        write(root / f"{name}.png", grey(value))
    return root


@pytest.fixture
def positives(tmp_path):
    root = tmp_path / "positives"
    for name, value in {"positive/a": 1, "unlabeled/a": 2, "test/negative/a": 3, "test/positive/a": 4}.items():
        write(root / f"{name}.png", grey(value))
    return root


def error_of(path, *args, **options):
    with pytest.raises(UserError) as caught:
        load_folder(path, *args, **options)
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


SYSTEM = (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", "Icon\r", "a.png:Zone.Identifier", "b.Zone.Identifier")


@pytest.mark.parametrize("name", SYSTEM)
def test_files_of_systems_are_skipped_and_counted(photos, name):
    assert load_folder(photos).notes == ()
    for folder in ("", "labeled", "labeled/cat", "unlabeled", "test", "test/dog"):
        (photos / folder / name).write_bytes(b"x")
    dataset = load_folder(photos)
    assert (len(dataset.x_train), dataset.class_names) == (5, ("cat", "dog"))
    assert dataset.notes == (f"6 files of the system, or hidden, skipped ({name.strip()})",)


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "$RECYCLE.BIN"])
def test_folders_of_systems_are_skipped_and_counted(photos, name):
    for folder in ("", "labeled", "labeled/cat", "unlabeled", "test"):
        write(photos / folder / name / "a.png", grey(9))
    dataset = load_folder(photos)
    assert (len(dataset.x_train), dataset.class_names) == (5, ("cat", "dog"))
    assert dataset.notes == (f"5 files of the system, or hidden, skipped ({name})",)


def test_one_colour_image_makes_all_rgb(photos):
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
    write(photos / "unlabeled/c.PNG", colour)
    dataset = load_folder(photos)
    assert dataset.image_shape == (4, 6, 3)
    np.testing.assert_array_equal(dataset.x_train[-1], colour)
    np.testing.assert_array_equal(dataset.x_train[0], np.full((4, 6, 3), 3))


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


def test_images_that_are_not_square_are_cut_by_default(photos):
    """Each 4x6 image has a bright left end, which is cut off, has white below it, or is squeezed in."""
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        write(path, np.where(np.arange(6) < 1, 255, 10 * i) * np.ones((4, 1)))
    crop, pad, stretch = (load_folder(photos, 4, fit=fit).x_train[0, ..., 0] for fit in ("crop", "pad", "stretch"))
    np.testing.assert_array_equal(load_folder(photos, 4).x_train[0, ..., 0], crop)
    assert (crop == 0).all()
    assert (pad[3] == 255).all()
    assert (pad[2, 2:] < 30).all()
    assert (stretch[:, 0] > 100).all()
    assert (stretch[:, 2:] < 30).all()
    black = load_folder(photos, 4, fit="pad", background="black").x_train[0, ..., 0]
    assert (black[3] == 0).all()


def test_mixed_sizes_need_image_size(photos):
    write(photos / "test/dog/b.png", grey(0, (5, 7)))
    message = error_of(photos)
    assert (
        f"{photos / 'test/dog/b.png'} is 7x5 pixels, but {photos / 'labeled/cat/a.png'} is 6x4: set image_size"
        in message
    )
    write(photos / "unlabeled/z.png", grey(0, (9, 9)))
    assert f"{photos / 'unlabeled/z.png'} is 9x9 pixels" in error_of(photos)
    assert "(2 files differ)" in error_of(photos)
    assert load_folder(photos, 4).image_shape == (4, 4, 1)
    assert "image_size=0" in error_of(photos, 0)


@pytest.mark.parametrize("damage", ["truncated", "truncated jpeg", "empty", "text", "link to nothing"])
def test_damaged_images_are_named_all_at_once_or_left_out(photos, damage):
    whole = np.random.default_rng(0).integers(0, 256, (64, 64))
    for name in ("unlabeled/b", "labeled/dog/b", "test/dog/b"):
        path = photos / f"{name}.{'jpg' if 'jpeg' in damage else 'png'}"
        write(path, whole)
        content = {"empty": b"", "text": b"no image", "truncated": path.read_bytes()[:60]}
        path.unlink()
        if damage == "link to nothing":
            path.symlink_to(photos / "nowhere.png")
        else:
            path.write_bytes(content.get(damage, b"\xff\xd8\xff\xe0 and so on"))
    message = error_of(photos)
    assert message.startswith(f"{photos} holds 3 damaged images: labeled/dog/b.")
    for words in ("unlabeled/b.", "test/dog/b.", "skip_damaged=True"):
        assert words in message
    dataset = load_folder(photos, skip_damaged=True)
    # labeled/dog/b.png and unlabeled/b.png were there, and their JPEG twins were not.
    values, labels = ([3, 1, 2, 4, 5], [0, 1, 1, -1, -1]) if "jpeg" in damage else ([3, 1, 4], [0, 1, -1])
    np.testing.assert_array_equal(dataset.x_train[:, 0, 0, 0], values)
    np.testing.assert_array_equal(dataset.y_train, labels)
    np.testing.assert_array_equal(dataset.y_test, [0, 1])
    assert len(dataset.notes) == 1
    assert dataset.notes[0].startswith("3 damaged images left out (labeled/dog/b.")


def test_where_every_image_is_damaged_there_is_nothing_to_leave_out(photos):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    assert "holds 7 damaged images" in error_of(photos, skip_damaged=True)


def test_deep_images_are_named_all_at_once(photos):
    for name in ("unlabeled/c.png", "test/cat/c.png"):
        Image.fromarray(np.full((4, 6), 40000, np.uint16)).save(photos / name)
    for options in ({}, {"skip_damaged": True}):
        assert f"{photos} holds 2 images of more than 8 bits a channel: unlabeled/c.png, test/cat/c.png" in (
            error_of(photos, **options)
        )


def test_files_that_are_no_images_are_named_all_at_once(photos):
    (photos / "labeled/cat/notes.txt").write_text("hello")
    assert f"{photos} holds 1 file of no readable kind of image: labeled/cat/notes.txt" in error_of(photos)
    (photos / "unlabeled/a.png~").write_text("hello")
    (photos / "test/dog/more").mkdir()
    message = error_of(photos, skip_damaged=True)
    assert (
        "holds 3 files of no readable kind of image: labeled/cat/notes.txt, unlabeled/a.png~, test/dog/more;" in message
    )
    for i in range(30):
        (photos / f"unlabeled/{i:02}.txt").write_text("hello")
    assert "unlabeled/18.txt and 13 more" in error_of(photos)


def test_files_beside_the_class_folders_are_named_all_at_once(photos):
    write(photos / "labeled/loose.png", grey(0))
    (photos / "test/README.md").write_text("hello")
    assert f"{photos} holds 2 files beside the folders of classes: labeled/loose.png, test/README.md" in error_of(
        photos
    )


@pytest.mark.parametrize(
    ("layout", "heap"), [("photos", "unlabeled"), ("positives", "unlabeled"), ("positives", "positive")]
)
def test_heaps_may_have_folders_inside(request, layout, heap):
    root = request.getfixturevalue(layout)
    before = load_folder(root)
    write(root / heap / "2024/may/z.png", grey(31))
    write(root / heap / "2023/z.png", grey(30))
    (root / heap / "2025").mkdir()
    dataset = load_folder(root)
    assert len(dataset.x_train) == len(before.x_train) + 2
    label = 1 if heap == "positive" else -1
    assert (dataset.y_train == label).sum() == (before.y_train == label).sum() + 2
    values = dataset.x_train[:, 0, 0, 0].tolist()
    assert values.index(30) < values.index(31)
    (root / heap / "2025/loop").symlink_to(root / heap)
    assert "2025/loop is a link to a folder that it is in" in error_of(root)


def test_an_empty_heap_is_named(photos):
    for path in (photos / "unlabeled").iterdir():
        path.unlink()
    assert f"{photos / 'unlabeled'} is empty" in error_of(photos)
    (photos / "unlabeled/inside").mkdir()
    assert f"{photos / 'unlabeled'} is empty" in error_of(photos)


def test_classes_are_in_natural_order(tmp_path):
    for name in ("0", "1", "2", "10", "11", "page 9", "page 10"):
        for part in ("labeled", "test"):
            write(tmp_path / part / name / "a.png", grey(len(name)))
    dataset = load_folder(tmp_path)
    assert dataset.class_names == ("0", "1", "2", "10", "11", "page 9", "page 10")
    np.testing.assert_array_equal(dataset.x_train[:, 0, 0, 0], [1, 1, 1, 2, 2, 6, 7])
    np.testing.assert_array_equal(dataset.y_train, range(7))
    np.testing.assert_array_equal(dataset.y_test, range(7))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_in_place_of_test_and_beside_it(photos, name):
    (photos / "test").rename(photos / name)
    dataset = load_folder(photos)
    np.testing.assert_array_equal(dataset.x_test[:, 0, 0, 0], [6, 7])
    assert dataset.notes == (f"{name}/ is the test set",)
    write(photos / "test/cat/a.png", grey(8))
    write(photos / "test/dog/a.png", grey(9))
    (photos / "README.md").write_text("hello")
    dataset = load_folder(photos)
    np.testing.assert_array_equal(dataset.x_test[:, 0, 0, 0], [8, 9])
    assert dataset.notes == (f"not used: README.md, {name}/",)


def test_other_spellings(photos):
    expected = load_folder(photos)
    for old, new in (("labeled", "labelled"), ("unlabeled", "unlabelled"), ("labelled", "train")):
        (photos / old).rename(photos / new)
        dataset = load_folder(photos)
        np.testing.assert_array_equal(dataset.x_train, expected.x_train)
        np.testing.assert_array_equal(dataset.y_train, expected.y_train)
        assert dataset.notes == ()


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


def test_names_of_a_mac_are_those_of_its_training_folders(tmp_path):
    """There an accent is a character of its own; zip files and disks keep it."""
    names = ("labeled/caf\u00e9", "labeled/a", "test/cafe\u0301", "test/a")
    for value, name in enumerate(names, 1):
        write(tmp_path / name / "a.png", grey(value))
    dataset = load_folder(tmp_path)
    assert dataset.class_names == ("a", "caf\u00e9")
    assert dict(zip(dataset.x_test[:, 0, 0, 0].tolist(), dataset.y_test.tolist(), strict=True)) == {4: 0, 3: 1}


@pytest.mark.parametrize("name", ["Cat", "cat "])
def test_a_test_folder_that_is_called_nearly_as_a_class(photos, name):
    (photos / "test" / "cat").rename(photos / "test" / name)
    said = error_of(photos)
    assert f"test/{name} has no class of the name {name!r} to belong to" in said
    assert "(there are cat, dog): is it 'cat'?: rename" in said


def test_a_pipe_among_images_is_not_waited_for(photos):
    os.mkfifo(photos / "unlabeled" / "pipe.png")
    assert "unlabeled/pipe.png" in error_of(photos)
