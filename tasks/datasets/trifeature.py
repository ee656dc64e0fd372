"""Trifeature: rendered objects in ten shapes, ten textures and ten colours, so that few-shot code can be tried in seconds.

The idea is that of Hermann and Lampinen 2020, "What shapes feature representations? Exploring datasets, architectures, and
training" (arXiv:2006.12433), whose images also combine three features. Here the 1,000 combinations are the classes, and the
images are our own. Nothing is downloaded: a split is rendered at its first use.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ...core.errors import UsageError
from ...core.options import parameter
from ..taxonomy import Taxonomy
from .rendered.combined import CLASS, Combined, Drawn
from .trifeature_features import COLOURS, SHAPES, TEXTURES
from .trifeature_rendering import IMAGES, SIZE, render

LIST = Path(__file__).parent / "lists" / "trifeature.csv"
LABELLED = 600  # train images of each class where a class is a value of one attribute
VALUES = {"shape": tuple(SHAPES), "texture": tuple(TEXTURES), "colour": tuple(COLOURS)}


@dataclass(frozen=True)
class Trifeature(Combined):
    """1,000 classes of 40 images of 32 × 32 pixels: 640 classes for training, 160 for validation, 200 for testing.

    A class is a colour, a texture and a shape ("red striped triangle"). The class splits in lists/trifeature.csv were drawn at
    random once, such that each of the thirty features belongs to exactly 64, 16 and 20 classes. Training therefore shows every
    feature of a test class, but never their combination.

    With `label` a class is a value of one attribute: 600 train images of each, of the combinations of the split; the classes
    are then the same in every split. `correlated` names a second attribute that goes with the label in train images, the
    first value of the one with the first of the other and so on: with the probability `correlation` the two match, else they
    are independent of each other.
    """

    name: ClassVar[str] = "trifeature"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Hermann and Lampinen 2020, What shapes feature representations?, arXiv:2006.12433"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2006.12433"
    attribute_names: ClassVar[tuple[str, ...]] = tuple(VALUES)
    image_shape: ClassVar[tuple[int, int, int]] = (SIZE, SIZE, 3)

    correlated: Literal["shape", "texture", "colour"] | None = parameter(
        None, "attribute that goes with the label in the train images"
    )
    correlation: float = parameter(0.0, "how far it does: 0 is not at all, 1 always", minimum=0, maximum=1)

    def __post_init__(self) -> None:
        """Check that a correlation is between two attributes."""
        super().__post_init__()
        if self.correlation and self.correlated is None:
            raise UsageError(f"trifeature: correlation={self.correlation:g}: of what? add label=shape and correlated=texture")
        if self.correlated is not None and self.label in (CLASS, self.correlated):
            raise UsageError(f"trifeature: correlated={self.correlated}: with what? add label=, another attribute")

    def combinations(self, split: str) -> list[Drawn]:
        """The classes of the list; train images of one label are drawn from them."""
        with LIST.open(encoding="utf-8", newline="") as file:
            classes = [row["class_id"].split("-") for row in csv.DictReader(file) if row["split"] == split]
        found = [Drawn((shape, texture, colour), IMAGES, 0) for colour, texture, shape in classes]
        return found if self.label == CLASS or split != "train" else list(self._labelled_train(found))

    def _labelled_train(self, classes: list[Drawn]) -> Iterator[Drawn]:
        """The combinations of the train images where a class is a value of one attribute."""
        names = self.attribute_names
        other = self.correlated or next(name for name in names if name != self.label)
        mine, its = names.index(self.label), names.index(other)
        for place, value in enumerate(VALUES[self.label]):
            for partner, images in zip(VALUES[other], self._counts(place, len(VALUES[other])), strict=True):
                fitting = [one for one in classes if (one.values[mine], one.values[its]) == (value, partner)]
                for number, one in enumerate(fitting[:images]):
                    yield Drawn(one.values, len(range(number, images, len(fitting))), 0)

    def _counts(self, match: int, partners: int) -> list[int]:
        """The number of train images of a label with each value of the correlated attribute, of which one matches."""
        matching = round(LABELLED * (self.correlation + (1 - self.correlation) / partners))
        rest = LABELLED - matching
        shares = [rest // (partners - 1) + (number < rest % (partners - 1)) for number in range(partners - 1)]
        return [*shares[:match], matching, *shares[match:]]

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """("red-striped-triangle", "red striped triangle")."""
        return super().class_of(values[::-1])

    def taxonomy(self, split: str) -> Taxonomy:
        """The taxonomy in which classes that share attributes are near.

        Raises:
            UserError: a class is a value of one attribute.
        """
        if self.label != CLASS:
            return super().taxonomy(split)
        drawn = self.drawn(split)
        return Taxonomy.from_attributes([self.class_of(one.values)[0] for one in drawn], [one.values for one in drawn])

    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Draw the first images of a class."""
        shape, texture, colour = drawn.values
        return render(shape, texture, colour, 0, drawn.images)
