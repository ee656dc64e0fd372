"""Turning the bytes of an image file, or the pixels of an array, into RGB at one size.

An image is turned upright by its EXIF tag, put on white where it is transparent, and made square. `squash` resizes it as a
whole, as Ravi and Larochelle did with mini-ImageNet: nothing is cut off, and the proportions of the sides change; the filter is
Lanczos's, as in the scripts that came with MAML (Finn et al. 2017). `crop` keeps the proportions and cuts off what is beyond
the central square, and `letterbox` adds grey bars instead; their filter is bicubic, as in the evaluation of timm's models and
of CLIP. An image of the right size keeps its pixels.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".mpo"),
    *(".apng", ".bmp", ".dib", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
# PIL knows more formats, some of which start other programs (EPS). The content decides, not the suffix.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


Fit = Literal["crop", "letterbox", "squash"]
BARS = (127, 127, 127)  # the colour of a letterbox


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


def decode(content: bytes | np.ndarray, size: int, fit: Fit = "squash") -> np.ndarray:
    """Decode one image: uint8 [size, size, 3], RGB.

    Args:
        content: an image file, or pixels: uint8 [H, W] or [H, W, 3].
        size: height and width of the result in pixels.
        fit: how an image of other proportions becomes square.

    Raises:
        UnreadableImage: the file is truncated, damaged, or not an image.
    """
    if isinstance(content, np.ndarray):
        return _resized(Image.fromarray(content).convert("RGB"), size, fit)
    if not content:
        raise UnreadableImage("an empty file")
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _resized(_to_rgb(image), size, fit)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image of a known format") from None
    except Exception as error:  # for damaged bytes PIL raises many kinds of errors
        truncated = isinstance(error, OSError) and "truncated" in str(error)
        raise UnreadableImage("truncated" if truncated else f"damaged ({' '.join(str(error).split())})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
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


def _resized(image: Image.Image, size: int, fit: Fit) -> np.ndarray:
    square = (size, size)
    if image.size == square:
        return np.asarray(image)
    if fit == "crop":
        image = ImageOps.fit(image, square, Image.Resampling.BICUBIC)
    elif fit == "letterbox":
        image = ImageOps.pad(image, square, Image.Resampling.BICUBIC, color=BARS)
    else:
        image = image.resize(square, Image.Resampling.LANCZOS)
    return np.asarray(image)
