"""Two handwritten digits beside each other, of one size or of two: does a network keep the smaller one?

After MultiDigits of Chen, Luo and Li 2021, "Intriguing properties of contrastive losses", arXiv:2011.02803, section 4, who
place digits of MNIST on a canvas of 112 pixels. Differs from the paper: digits of 8×8 pixels on a canvas of 48; the first is
always in the left half and the second in the right one, so that "the first digit" has a meaning where both have one size. With
views that may be mirrored it has none; grey images are not mirrored unless `bench pretrain --flip` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....core.options import parameter
from ....core.random_streams import bounded
from ..split import SPLITS
from .combined import Combined, Drawn
from .handwritten import DIGITS, SIDE, chosen, enlarged, laid_on, noise, random_words

CANVAS = 48  # pixels a side
IMAGES = 40  # a class
SEED = 201102803
NOISE = 40  # grey levels of the background
CLASSES = {"train": range(0, 6), "val": range(6, 8), "test": range(8, 10)}  # second digit less the first, modulo ten


@dataclass(frozen=True)
class MultiDigits(Combined):
    """100 pairs of digits, 40 images of 48 × 48 pixels each: 60 classes for training, 20 for validation, 20 for testing.

    Every digit occurs in every split as often as any other, and no pair in two; the handwriting differs from split to split.
    """

    name: ClassVar[str] = "multi-digits"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Chen, Luo and Li 2021, Intriguing properties of contrastive losses, arXiv:2011.02803"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2011.02803"
    attribute_names: ClassVar[tuple[str, ...]] = ("first", "second")
    image_shape: ClassVar[tuple[int, int, int]] = (CANVAS, CANVAS, 1)

    scale: int = parameter(1, "size of the first digit as a multiple of the second's, which has 8 pixels", minimum=1, maximum=3)

    def combinations(self, split: str) -> list[Drawn]:
        """The pairs whose digits are as far apart as the split wants."""
        pairs = [(first, second) for first in range(10) for second in range(10) if (second - first) % 10 in CLASSES[split]]
        start = SPLITS.index(split) * 100 * IMAGES
        return [Drawn((DIGITS[a], DIGITS[b]), IMAGES, start + (10 * a + b) * IMAGES) for a, b in pairs]

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """("3-5", "3 and 5")."""
        return "-".join(values), " and ".join(values)

    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Draw both digits at random places of their halves, on a noisy background."""
        pixels = CANVAS * CANVAS
        draws = random_words(SEED, drawn.number, drawn.images, 6 + pixels)
        images = noise(draws[:, 6:], self.image_shape, NOISE)
        for place, (digit, times) in enumerate(zip(drawn.values, (self.scale, 1), strict=True)):
            instance, down, right = draws[:, 3 * place : 3 * place + 3].T
            side, half = times * SIDE, CANVAS // 2
            ink = enlarged(chosen(split, digit, instance), times)
            laid_on(images, ink, bounded(down, CANVAS - side + 1), place * half + bounded(right, half - side + 1))
        return images
