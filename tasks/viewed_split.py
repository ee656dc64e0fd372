"""A split whose images are views of themselves: a random crop, in colour also mirrored, made as they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.cache import digest_of
from ..core.random_streams import Purpose, uniform, words
from .altered_images import AlteredImages
from .datasets.split import Split

SEED = 0  # the views of a dataset are the same for every task
SMALLEST = 0.5  # share of the image's area in a view
ASPECT = 4 / 3  # of a crop, at most, either way
VERSION = 1  # changes when views do


@dataclass(frozen=True)
class ViewedImages(AlteredImages):
    """Views of images.

    Attributes:
        view: number of the view, at least 1; each has random numbers of its own.
    """

    view: int

    def altered(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The view of each image."""
        views = np.array(images)
        for place, row in enumerate(rows.tolist()):
            views[place] = _view(images[place], self.view, row)
        return views


def viewed(split: Split, view: int) -> Split:
    """A split with a view of each image and a fingerprint of its own; view 0 is the split itself."""
    if view == 0:
        return split
    section = {"fingerprint": split.fingerprint, "view": view, "version": VERSION}
    return replace(split, images=ViewedImages(split.images, view), fingerprint=digest_of(section))


def box_of(view: int, row: int, height: int, width: int) -> tuple[tuple[float, float, float, float], bool]:
    """The crop of a view in pixels, (left, top, right, bottom), and whether it is mirrored; depends on nothing but these."""
    area, aspect, down, right, mirror = uniform(words(SEED, Purpose.VIEWS, view, row, row + 1, 5))[0].tolist()
    side = (SMALLEST + (1 - SMALLEST) * area) ** 0.5
    stretch = min(max(ASPECT ** (aspect - 0.5), side), 1 / side)  # neither side is longer than the image's
    high, wide = height * side / stretch, width * side * stretch
    top, left = max(0.0, down * (height - high)), max(0.0, right * (width - wide))  # rounding may end below 0
    return (left, top, min(left + wide, width), min(top + high, height)), mirror <= 0.5


def _view(image: np.ndarray, view: int, row: int) -> np.ndarray:
    from PIL import Image

    height, width, channels = image.shape
    box, mirrored = box_of(view, row, height, width)
    picture = Image.fromarray(image.squeeze(2) if channels == 1 else image)
    found = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box)).reshape(image.shape)
    return found[:, ::-1] if mirrored and channels == 3 else found
