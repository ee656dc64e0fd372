"""Turning the bytes of an image file, or the pixels of an array, into RGB at one size.

An image is turned upright by its EXIF tag, put on white where it is transparent, and made square (`Square`). An image of the
right size keeps its pixels, unless a share of it is to be cut out.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"),
    *(".apng", ".bmp", ".dib", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# PIL knows more formats, some of which start other programs (EPS). The content decides, not the suffix.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


Fit = Literal["crop", "letterbox", "squash"]
Filter = Literal["bicubic", "bilinear", "box", "hamming", "lanczos", "nearest"]
BARS = (127, 127, 127)  # the colour of a letterbox


@dataclass(frozen=True)
class Square:
    """How a picture of any proportions becomes a square. The defaults are those of mini-ImageNet.

    Attributes:
        size: height and width in pixels.
        fit: squash resizes the whole picture, as Ravi and Larochelle did with mini-ImageNet; the proportions change. crop
            resizes the shorter side and cuts the centre out, as the evaluation of timm's models and of CLIP does. letterbox
            resizes the longer side and adds grey bars.
        filter: of PIL, to resize by. Lanczos's is that of the scripts that came with MAML (Finn et al. 2017).
        share: size of the cut-out by the shorter side, above 0 to 1; for crop alone.
    """

    size: int
    fit: Fit = "squash"
    filter: Filter = "lanczos"
    share: float = 1.0


def known_filter(name: str) -> Filter:
    """The filter of a name; bicubic for a name that PIL does not know, such as "random"."""
    return next((known for known in get_args(Filter) if known == name), "bicubic")


class UnreadableImage(ValueError):
    """An image cannot be decoded; the message says why, in a few words."""


@cache
def formats() -> tuple[str, ...]:
    """The formats of `FORMATS` that this build of PIL reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return name.lower().endswith(SUFFIXES)


def decode(content: bytes | np.ndarray, square: Square) -> np.ndarray:
    """Decode one image: uint8 [size, size, 3], RGB.

    Args:
        content: an image file, or pixels: uint8 [H, W] or [H, W, 3].
        square: how it becomes square.

    Raises:
        UnreadableImage: the file is truncated, damaged, or not an image.
    """
    if isinstance(content, np.ndarray):
        return _resized(Image.fromarray(content).convert("RGB"), square)
    if not content:
        raise UnreadableImage("an empty file")
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _resized(to_rgb(image), square)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image of a known format") from None
    except Exception as error:  # for damaged bytes PIL raises many kinds of errors
        truncated = isinstance(error, OSError) and "truncated" in str(error)
        raise UnreadableImage("truncated" if truncated else f"damaged ({' '.join(str(error).split())})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode of photographs and drawings to RGB: grey, palette, CMYK, 16 bits, with transparency."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode == "F":
        raise UnreadableImage("its pixels are floating-point numbers")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to RGB; PIL's own conversion would clip values at 255."""
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65_535:
        raise UnreadableImage("its pixels have more than 16 bits")
    return Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")


def _resized(image: Image.Image, square: Square) -> np.ndarray:
    sides, resampling = (square.size, square.size), Image.Resampling[square.filter.upper()]
    if square.fit == "crop":
        return np.asarray(_cropped(image, square, resampling))
    if image.size == sides:
        return np.asarray(image)
    if square.fit == "letterbox":
        return np.asarray(ImageOps.pad(image, sides, resampling, color=BARS))
    return np.asarray(image.resize(sides, resampling))


def _cropped(image: Image.Image, square: Square, resampling: Image.Resampling) -> Image.Image:
    """The centre, to the pixel as torchvision's Resize and CenterCrop give it, which timm and open_clip use."""
    short, shorter = math.floor(square.size / square.share), min(image.size)
    if shorter != short:
        width, height = (short if side == shorter else int(short * side / shorter) for side in image.size)
        image = image.resize((width, height), resampling)
    left, top = (round((side - square.size) / 2) for side in image.size)
    return image.crop((left, top, left + square.size, top + square.size))
