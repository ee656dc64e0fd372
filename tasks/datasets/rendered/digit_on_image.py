"""A handwritten digit over an image of trifeature: two things to see in one image, one of which is easy.

After DigitOnImageNet of Chen, Luo and Li 2021, "Intriguing properties of contrastive losses", arXiv:2011.02803, section 5, who
lay digits of MNIST over photos. How many drawings of digits there are says how far they tell images apart: with few, a
contrastive loss has to look at the image below. Differs from the paper: images of trifeature in place of ImageNet's, digits of
8×8 pixels drawn at twice their size, at one random place in place of nine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....core.options import parameter
from ....core.random_streams import bounded
from ..split import SPLITS
from ..trifeature import Trifeature
from ..trifeature_rendering import SIZE, render
from .combined import Combined, Drawn
from .handwritten import DIGITS, SIDE, chosen, enlarged, laid_on, random_words

TIMES = 2  # the digit has 16 of 32 pixels
EACH = 2  # images of a class with each digit: the validation of a pretraining needs 16 images a class
SEED = 201102805


@dataclass(frozen=True)
class DigitOnImage(Combined):
    """The classes of trifeature with twenty images of 32 × 32 pixels each, two with each digit.

    The class is that of the image below. Digit and class are independent; the handwriting differs from split to split.
    """

    name: ClassVar[str] = "digit-on-image"
    version: ClassVar[str] = "2"
    citation: ClassVar[str] = "Chen, Luo and Li 2021, Intriguing properties of contrastive losses, arXiv:2011.02803"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2011.02803"
    attribute_names: ClassVar[tuple[str, ...]] = (*Trifeature.attribute_names, "digit")
    image_shape: ClassVar[tuple[int, int, int]] = Trifeature.image_shape

    instances: int | None = parameter(
        None, "drawings of each digit in the train images, at most about 108, which are all; 0 draws no digit", minimum=0
    )

    def combinations(self, split: str) -> list[Drawn]:
        """Every class of trifeature with every digit."""
        start = SPLITS.index(split) * 20_000
        below = [one.values for one in Trifeature().combinations(split)]
        pairs = [(*values, digit) for values in below for digit in DIGITS]
        return [Drawn(values, EACH, start + EACH * number) for number, values in enumerate(pairs)]

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """Those of trifeature: ("red-striped-disc", "red striped disc")."""
        return Trifeature().class_of(values[:3])

    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Lay a digit over the images of the class whose numbers end with it."""
        shape, texture, colour, digit = drawn.values
        places = range(int(digit), EACH * len(DIGITS), len(DIGITS))
        images = np.concatenate([render(shape, texture, colour, place, place + 1) for place in places])
        if self.instances != 0 or split != "train":
            draws = random_words(SEED, drawn.number, EACH, 3)
            ink = enlarged(chosen(split, digit, draws[:, 0], self.instances if split == "train" else None), TIMES)
            laid_on(images, ink, *(bounded(draws[:, place], SIZE - TIMES * SIDE + 1) for place in (1, 2)))
        return images
