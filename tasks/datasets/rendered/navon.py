"""Large letters made of small letters.

Navon 1977, "Forest before trees", whose images Hermann and Lampinen 2020, "What shapes feature representations?",
arXiv:2006.12433, made a dataset of: the large letter is the shape, the small one the texture. Differs from the paper: 20
letters of 5×5 pixels, 400 pairs, on images of 36 pixels, in random places, tones and noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....core.random_streams import bounded
from ..split import SPLITS
from .combined import Combined, Drawn
from .handwritten import between, noise, random_words

CANVAS = 36  # pixels a side
STEP = 6  # pixels from one small letter to the next
IMAGES = 20  # a class
SEED = 200612434
INK, PAPER = (0.55, 1.0), (0.0, 0.35)  # ranges of the two tones, from black to white; half of the images are inverted
NOISE = 40  # grey levels
# Rows of five pixels, from the top.
LETTERS = {
    "A": ".###. #...# ##### #...# #...#",
    "C": ".#### #.... #.... #.... .####",
    "E": "##### #.... ###.. #.... #####",
    "F": "##### #.... ###.. #.... #....",
    "H": "#...# #...# ##### #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. .###.",
    "J": "..### ...#. ...#. #..#. .##..",
    "K": "#...# #..#. ###.. #..#. #...#",
    "L": "#.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...#",
    "O": ".###. #...# #...# #...# .###.",
    "P": "####. #...# ####. #.... #....",
    "S": ".#### #.... .###. ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# .###.",
    "V": "#...# #...# .#.#. .#.#. ..#..",
    "X": "#...# .#.#. ..#.. .#.#. #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ...#. ..#.. .#... #####",
}
CLASSES = {"train": range(0, 12), "val": range(12, 16), "test": range(16, 20)}  # small letter less the large one, modulo 20


@dataclass(frozen=True)
class Navon(Combined):
    """400 classes of 20 grey images of 36 × 36 pixels: 240 for training, 80 for validation, 80 for testing.

    Every letter occurs in every split as often as any other, large and small, and no pair in two.
    """

    name: ClassVar[str] = "navon"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Hermann and Lampinen 2020, What shapes feature representations?, arXiv:2006.12433"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2006.12433"
    attribute_names: ClassVar[tuple[str, ...]] = ("large", "small")
    image_shape: ClassVar[tuple[int, int, int]] = (CANVAS, CANVAS, 1)

    def combinations(self, split: str) -> list[Drawn]:
        """The pairs whose letters are as far apart as the split wants."""
        letters = list(LETTERS)
        pairs = [(a, b) for a in range(20) for b in range(20) if (b - a) % 20 in CLASSES[split]]
        start = SPLITS.index(split) * 400 * IMAGES
        return [Drawn((letters[a], letters[b]), IMAGES, start + (20 * a + b) * IMAGES) for a, b in pairs]

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """("T-of-S", "a large T of small S")."""
        return "-of-".join(values), " of small ".join((f"a large {values[0]}", values[1]))

    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Draw the pair at random places, in random tones, dark on light or light on dark, with noise."""
        draws = random_words(SEED, drawn.number, drawn.images, 5 + CANVAS * CANVAS)
        letter = pair(*drawn.values)
        room = CANVAS - len(letter) + 1
        ink, paper = (255 * between(draws[:, place], *tones) for place, tones in ((0, INK), (1, PAPER)))
        images = noise(draws[:, 5:], self.image_shape, NOISE)
        for image, tone, ground, y, x in zip(
            images, ink, paper, bounded(draws[:, 2], room), bounded(draws[:, 3], room), strict=True
        ):
            levels = np.full((CANVAS, CANVAS), int(ground))
            levels[y : y + len(letter), x : x + len(letter)][letter] = int(tone)
            image[:] = np.clip(image + levels[..., None] - NOISE // 2, 0, 255)
        inverted = (draws[:, 4] >> 31).astype(bool)
        images[inverted] = 255 - images[inverted]
        return images


def glyph(letter: str) -> np.ndarray:
    """A letter, bool [5, 5]."""
    return np.array([[pixel == "#" for pixel in row] for row in LETTERS[letter].split()])


def pair(large: str, small: str) -> np.ndarray:
    """A large letter of small ones, bool [29, 29]."""
    cell = np.zeros((STEP, STEP), dtype=bool)
    cell[:5, :5] = glyph(small)
    return np.kron(glyph(large), cell)[:-1, :-1]
