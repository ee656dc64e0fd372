"""Handwritten digits beside random bits that are the same everywhere in an image: a feature that is easy and says nothing.

After RandBit of Chen, Luo and Li 2021, "Intriguing properties of contrastive losses", arXiv:2011.02803, section 5, who add a
channel for each bit. Two views of an image share its bits, so that a contrastive loss can be small without any digit.
Differs from the paper: images have three channels, of which the digit has the first; each of the others holds up to four bits
as one of up to 16 grey levels. Views must not change colours, which would change bits: `bench pretrain --recipe simclr
--set recipe.jitter=0 --set recipe.grey=0`.
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

CANVAS, TIMES = 32, 3  # pixels a side; the digit has 24
IMAGES = {"train": 400, "val": 100, "test": 100}  # a class
SEED = 201102804
NOISE = 40  # grey levels of the background
MOST = 4  # bits of a channel


@dataclass(frozen=True)
class RandBit(Combined):
    """Ten digits of 32 × 32 pixels, in the same classes in every split: 400, 100 and 100 images a class of other handwriting.

    The attribute `bits` is the number in the second channel, of up to four bits.
    """

    name: ClassVar[str] = "rand-bit"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Chen, Luo and Li 2021, Intriguing properties of contrastive losses, arXiv:2011.02803"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2011.02803"
    attribute_names: ClassVar[tuple[str, ...]] = ("digit", "bits")
    image_shape: ClassVar[tuple[int, int, int]] = (CANVAS, CANVAS, 3)

    bits: int = parameter(4, "random bits of an image", minimum=0, maximum=2 * MOST)

    def combinations(self, split: str) -> list[Drawn]:
        """Each image by itself, since its bits are its own."""
        images, start = IMAGES[split], SPLITS.index(split) * 10 * IMAGES["train"]
        found = []
        for digit, name in enumerate(DIGITS):
            numbers = self._levels(start + digit * images, images)[0]
            found += [Drawn((name, f"{value:02}"), 1, start + digit * images + i) for i, value in enumerate(numbers)]
        return found

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """("7", "7"): the bits are no part of the class."""
        return values[0], values[0]

    def _levels(self, number: int, images: int) -> list[np.ndarray]:
        """The number in the second and in the third channel, int [images] each."""
        draws = random_words(SEED, number, images, 2)
        widths = min(self.bits, MOST), max(self.bits - MOST, 0)
        return [bounded(draws[:, channel], 2**width) for channel, width in enumerate(widths)]

    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Draw the digit into the first channel and fill the others with their levels."""
        draws = random_words(SEED + 1, drawn.number, drawn.images, 3 + CANVAS * CANVAS)
        images = np.zeros((drawn.images, *self.image_shape), dtype=np.uint8)
        images[..., :1] = noise(draws[:, 3:], (CANVAS, CANVAS, 1), NOISE)
        side = TIMES * SIDE
        ink = enlarged(chosen(split, drawn.values[0], draws[:, 0]), TIMES)
        laid_on(images[..., :1], ink, *(bounded(draws[:, place], CANVAS - side + 1) for place in (1, 2)))
        for channel, levels in enumerate(self._levels(drawn.number, drawn.images), start=1):
            images[..., channel] = (levels * (255 // (2**MOST - 1)))[:, None, None]
        return images
