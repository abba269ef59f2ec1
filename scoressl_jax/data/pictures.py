"""An image file -> its pixels, uint8: the formats that are read, transparency, grey or colour, and one size for all."""

import re

import numpy as np
from PIL import Image, ImageColor, ImageOps, features

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM")  # no other decoder is ever tried
SUFFIXES = {  # with what Pillow needs for them, where not every Pillow has it
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif"), ""),
    **dict.fromkeys((".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"), ""),
    **{".webp": "webp", ".avif": "avif", ".jp2": "jpg_2000"},
}
FITS = ("crop", "pad", "stretch")
SIXTEEN = re.compile("(LA|RGBA?|RGBX|CMYK).*;16[BLN]")  # raw modes of 16 bits a channel, which Pillow would cut to 8
GREY, PALETTE, TRANSPARENT = ("1", "L", "LA", "La"), ("P", "PA"), ("LA", "La", "PA", "RGBA", "RGBa")


class Deep(Exception):
    """An image of more than 8 bits a channel."""


def is_picture(path):
    """Whether a file's name is that of an image that can be read here."""
    suffix = path.suffix.lower()
    special = path.exists() and not path.is_file()  # folders, and pipes, of which reading would never end
    return suffix in SUFFIXES and (not SUFFIXES[suffix] or features.check(SUFFIXES[suffix])) and not special


def is_colour(text):
    """Whether Pillow knows a colour of this name."""
    try:
        return bool(ImageColor.getrgb(text))
    except ValueError:
        return False


def read_picture(file, *, image_size=None, fit="crop", background="white"):
    """uint8 [H, W] of a grey image, [H, W, 3] of any other; of several frames the first.

    What is transparent shows `background`, a colour's name or #rrggbb. Rotation marks of cameras are applied.
    image_size: None (as it is) or the height and width to make; where it is not square, `fit` says how: `crop` cuts the
    ends of the longer side off, `pad` fills the shorter one up with the background, `stretch` distorts. Raises Deep,
    and what Pillow raises for damaged files.
    """
    background = ImageColor.getrgb(background)[:3]
    with Image.open(file, formats=readable()) as image:
        if image.mode[0] in "IF" or any(SIXTEEN.match(str(raw)) for raw in raw_modes(image)):
            raise Deep
        image = flattened(ImageOps.exif_transpose(image), background)
    return np.asarray(image if image_size is None else sized(image, image_size, fit, background))


def raw_modes(image):
    """How the pixels are in the file, in Pillow's words; of some formats it tells none."""
    for tile in image.tile:
        yield tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]


def readable():
    """The FORMATS that this Pillow has."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def flattened(image, background):
    """An opaque image of mode L, where every colour is a grey and the file is grey or has a palette, else RGB."""
    mode = image.mode
    if mode in TRANSPARENT or "transparency" in image.info:
        image = image.convert("LA") if mode == "La" else image  # Pillow knows no other way from it
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))
    elif mode in GREY:
        return image.convert("L")
    image = image.convert("RGB")
    if mode in GREY + PALETTE:
        pixels = np.asarray(image)
        return image.getchannel(0) if (pixels == pixels[..., :1]).all() else image
    return image


def sized(image, size, fit, background):
    """An image of mode L or RGB at size x size."""
    # Pillow's bicubic widens its kernel when it shrinks an image, so it is antialiased.
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    longer = max(image.size)
    inside = [max(1, round(side * size / longer)) for side in image.size]
    if len(set(background)) > 1:
        image = image.convert("RGB")
    ground = Image.new(image.mode, (size, size), background[0] if image.mode == "L" else background)
    ground.paste(image.resize(inside, Image.Resampling.BICUBIC), ((size - inside[0]) // 2, (size - inside[1]) // 2))
    return ground
