"""One image file: formats, transparency, grey and colour, sizes."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scoressl_jax.data.pictures import SUFFIXES, Deep, is_colour, is_picture, read_picture

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)
LOSSLESS = {"png": {}, "bmp": {}, "tif": {}, "tiff": {}, "ppm": {}, "webp": {"lossless": True}, "jp2": {}}


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [suffix.lstrip(".") for suffix in SUFFIXES])
def test_every_kind_of_file_is_read(tmp_path, suffix):
    smooth = np.broadcast_to(np.arange(0, 240, 15, dtype=np.uint8)[:, None, None], (16, 16, 3)) + np.uint8([0, 9, 3])
    grey = suffix in ("pgm", "pbm")
    pixels = smooth[..., 0] if grey else smooth
    formats = {"jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000", "pnm": "PPM"}
    path = tmp_path / f"a.{suffix.upper()}"
    saved(path, pixels, format=formats.get(suffix), **LOSSLESS.get(suffix, {}))
    assert is_picture(path)
    found = read_picture(path)
    assert found.dtype == np.uint8
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() <= (0 if suffix in LOSSLESS else 25)


def test_what_is_no_picture(tmp_path):
    for name in ("a.txt", "a.png~", "png", "a.pdf", "a.svg", "a.eps", ".png"):
        assert not is_picture(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    assert not is_picture(tmp_path / "folder.png")
    # The contents tell the format, of those alone that are read.
    path = saved(tmp_path / "a.png", COLOUR, format="BMP")
    np.testing.assert_array_equal(read_picture(path), COLOUR)
    saved(tmp_path / "b.png", COLOUR, format="EPS")
    with pytest.raises(Image.UnidentifiedImageError):
        read_picture(tmp_path / "b.png")


def test_of_several_frames_the_first(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (10, 200)]
    for suffix in ("gif", "png", "tif", "webp"):
        more = {"lossless": True} if suffix == "webp" else {}
        path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **more)
        assert (read_picture(path) == 10).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes(tmp_path, mode):
    suffix = "tif" if mode in ("CMYK", "YCbCr", "PA") else "png"
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(np.full((4, 6), 255, np.uint8)).convert(mode))
    found = read_picture(path)
    assert found.shape == ((4, 6) if mode in ("1", "L", "LA", "P", "PA") else (4, 6, 3))
    assert (found == 255).all()


def test_palettes_of_greys_are_grey_and_others_are_not(tmp_path):
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "a.png", Image.fromarray(GREY).convert("P"))), GREY)
    image = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "b.png", image)), np.asarray(image.convert("RGB")))
    equal = np.repeat(GREY[..., None], 3, axis=-1)  # a file in colour is in colour, whatever its colours
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "c.png", equal)), equal)


def test_transparency_shows_the_background(tmp_path):
    """Red at the left, opaque; green at the right, hidden; half of blue in between."""
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, :2], pixels[:, 2:4], pixels[:, 4:] = (255, 0, 0, 255), (0, 0, 255, 128), (0, 255, 0, 0)
    path = saved(tmp_path / "a.png", pixels)
    for name, ground in (("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#0a141e", (10, 20, 30))):
        found = read_picture(path, background=name)
        assert (found[:, :2] == (255, 0, 0)).all()
        assert (found[:, 4:] == ground).all()
        half = 128 / 255 * np.array([0, 0, 255]) + 127 / 255 * np.array(ground)
        assert np.abs(found[:, 2:4] - half).max() <= 1
    assert (read_picture(path)[:, 4:] == 255).all()  # white by default


@pytest.mark.parametrize("kind", ["grey and alpha", "one grey", "one colour", "palette of bytes", "gif"])
def test_transparency_of_every_kind_of_file(tmp_path, kind, recwarn):
    grey, hidden = np.full((4, 4), 60, np.uint8), np.zeros((4, 4), bool)
    hidden[1:3] = True
    path = tmp_path / ("a.gif" if kind == "gif" else "a.png")
    if kind == "grey and alpha":
        saved(path, Image.fromarray(np.stack([grey, np.where(hidden, 0, 255).astype(np.uint8)], -1), "LA"))
    else:
        grey[hidden] = 7
        image = Image.fromarray(grey)
        if kind == "one colour":
            saved(path, image.convert("RGB"), transparency=(7, 7, 7))
        elif kind == "palette of bytes":
            saved(path, image.convert("P"), transparency=bytes(0 if i == 7 else 255 for i in range(256)))
        else:
            saved(path, image if kind == "one grey" else image.convert("P"), transparency=7)
    found = read_picture(path)
    assert found.ndim == (3 if kind == "one colour" else 2)
    assert (found[hidden] == 255).all()
    assert (found[~hidden] == 60).all()
    coloured = read_picture(path, background="red")
    assert (coloured[hidden] == (255, 0, 0)).all()
    assert not recwarn.list


def test_colours():
    assert all(map(is_colour, ("white", "black", "#808080", "#fff", "rgb(1, 2, 3)")))
    assert not any(map(is_colour, ("", "whit", "#12", "7")))


@pytest.mark.parametrize("pixels", [np.full((4, 4), 40000, np.uint16), np.ones((4, 4), np.float32)])
def test_more_than_eight_bits(tmp_path, pixels):
    with pytest.raises(Deep):
        read_picture(saved(tmp_path / "a.tif", pixels))


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.T])
def test_crop_cuts_off_the_ends_of_the_longer_side(tmp_path, pixels):
    path = saved(tmp_path / "a.png", pixels)
    square = pixels[1:7] if pixels.shape[0] == 8 else pixels[:, 1:7]
    for size in (6, 12):
        found = read_picture(path, image_size=size)
        expected = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)).astype(int)
        inner = slice(None) if size == 6 else slice(3, -3)  # at the cut, what is beyond plays a part in the filter
        assert np.abs(found.astype(int) - expected)[inner, inner].max() <= 1


def test_pad_fills_the_shorter_side_up(tmp_path):
    path = saved(tmp_path / "a.png", GREY)
    found = read_picture(path, image_size=8, fit="pad", background="#070707")
    np.testing.assert_array_equal(found[:, 1:-1], GREY)
    assert (found[:, [0, -1]] == 7).all()
    coloured = read_picture(path, image_size=8, fit="pad", background="red")
    assert (coloured[:, 0] == (255, 0, 0)).all()
    np.testing.assert_array_equal(coloured[:, 1:-1, 2], GREY)
    thin = saved(tmp_path / "b.png", np.full((400, 1), 9, np.uint8))
    assert (read_picture(thin, image_size=8, fit="pad") == 9).sum() == 8


def test_stretch_distorts(tmp_path):
    found = read_picture(saved(tmp_path / "a.png", GREY), image_size=8, fit="stretch")
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(GREY).resize((8, 8), Image.Resampling.BICUBIC)))


def test_square_images_are_the_same_either_way(tmp_path):
    path = saved(tmp_path / "a.png", RNG.integers(0, 256, (37, 37, 3), dtype=np.uint8))
    found = [read_picture(path, image_size=16, fit=fit) for fit in ("crop", "pad", "stretch")]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_rotation_comes_before_the_cut(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", np.arange(48, dtype=np.uint8).reshape(4, 12) * 5, exif=exif)
    with Image.open(path) as image:
        turned = np.asarray(ImageOps.exif_transpose(image))
    assert turned.shape == (12, 4)
    np.testing.assert_array_equal(read_picture(Path(path), image_size=4), turned[4:8])


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_colours_of_16_bits_are_not_cut_to_8_in_silence(kind, channels, tmp_path):
    for bits in (8, 16):
        rows = b"".join(b"\0" + bytes(4 * channels * bits // 8) for _ in range(4))
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, bits, kind, 0, 0, 0))
        path = tmp_path / f"{bits}.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert read_picture(tmp_path / "8.png").shape[:2] == (4, 4)
    with pytest.raises(Deep):
        read_picture(tmp_path / "16.png")
