"""The handwritten digits that scikit-learn brings, 8×8 pixels, divided into train, val and test by person's drawing.

Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", UCI machine learning repository, doi:10.24432/C50P49.
scikit-learn has the 1,797 drawings of its test set. Of the drawings of each digit, three in five are train, one val, one test.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ....core.errors import UserError
from ....core.random_streams import bounded, uniform, words

DIGITS = tuple("0123456789")
SIDE = 8  # pixels
PARTS = {"train": (0, 1, 2), "val": (3,), "test": (4,)}  # remainders by five of a drawing's number among those of its digit


@cache
def drawings(split: str) -> tuple[np.ndarray, ...]:
    """The drawings of each digit in a split, uint8 [n, 8, 8] each; ink is 255 on 0.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("the handwritten digits need scikit-learn: pip install scikit-learn") from error
    found: Any = load_digits()
    ink = (found.images.astype(np.uint16) * 255 // 16).astype(np.uint8)
    of_digits = [ink[found.target == digit] for digit in range(len(DIGITS))]
    return tuple(mine[np.isin(np.arange(len(mine)) % 5, PARTS[split])] for mine in of_digits)


def chosen(split: str, digit: str, draws: np.ndarray, instances: int | None = None) -> np.ndarray:
    """A drawing of a digit for each random word, uint8 [n, 8, 8].

    Args:
        split: whose drawings are taken.
        digit: "0" to "9".
        draws: uint32 [n].
        instances: drawings of the digit to choose from; None: all of the split.
    """
    mine = drawings(split)[int(digit)][:instances]
    return mine[bounded(draws, len(mine))]


def enlarged(ink: np.ndarray, times: int) -> np.ndarray:
    """Drawings [n, h, w] with each pixel as a square of `times` pixels a side."""
    return ink.repeat(times, axis=1).repeat(times, axis=2)


def laid_on(images: np.ndarray, ink: np.ndarray, top: np.ndarray, left: np.ndarray) -> None:
    """Draw ink in white over images, in place.

    Args:
        images: uint8 [n, H, W, C].
        ink: uint8 [n, h, w]; 255 covers what is below, 0 leaves it.
        top: int [n], first row of the ink.
        left: int [n], first column.
    """
    height, width = ink.shape[1:]
    for image, mask, y, x in zip(images, ink[..., None].astype(np.uint16), top, left, strict=True):
        below = image[y : y + height, x : x + width]
        below[:] = (below * (255 - mask) + 255 * mask) // 255


def random_words(seed: int, number: int, images: int, width: int) -> np.ndarray:
    """Random words uint32 [images, width] of images from `number` on; those of an image do not depend on the others."""
    return words(seed, 0, 0, number, number + images, width)


def noise(draws: np.ndarray, shape: tuple[int, ...], most: int) -> np.ndarray:
    """Grey levels below `most`, uint8 [n, *shape], from words [n, product of shape]."""
    return bounded(draws, most).astype(np.uint8).reshape(len(draws), *shape)


def between(draws: np.ndarray, low: float, high: float) -> np.ndarray:
    """Uniform numbers in an interval, float64 of the shape of the words."""
    return low + (high - low) * uniform(draws)
