"""The base of rendered datasets whose images combine several attributes, such as a shape and a colour."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ....core.errors import UsageError
from ....core.options import Settings, parameter
from ....core.progress import Progress
from ..base import Contents, Dataset
from ..split import Split, split_name

CLASS = "class"  # the label that stands for the combination itself


@dataclass(frozen=True)
class Drawn:
    """Images of one combination.

    Attributes:
        values: the value of each attribute.
        images: how many.
        number: of the first image among all images of the dataset; decides its random numbers.
    """

    values: tuple[str, ...]
    images: int
    number: int


@dataclass(frozen=True)
class Combined(Dataset):
    """Images of combinations. A class is a combination; with `label` it is a value of that attribute.

    Attributes:
        attribute_names: of the attributes, in the order of `Drawn.values`.
        image_shape: height, width and channels of an image.
    """

    licence: ClassVar[str] = "Apache-2.0 (rendered by fewbench)"
    made_here: ClassVar[bool] = True
    attribute_names: ClassVar[tuple[str, ...]]
    image_shape: ClassVar[tuple[int, int, int]]

    label: str = parameter(CLASS, "what makes a class: the combination (class), or the attribute of this name")

    def __post_init__(self) -> None:
        """Check that there is such an attribute."""
        super().__post_init__()
        if self.label not in (CLASS, *self.attribute_names):
            raise UsageError(f"{self.name}: label={self.label}: {', '.join((CLASS, *self.attribute_names))}")

    @abstractmethod
    def combinations(self, split: str) -> list[Drawn]:
        """The combinations of a split, which is one of the known ones. Works without images."""

    @abstractmethod
    def render(self, split: str, drawn: Drawn) -> np.ndarray:
        """Draw the images of a combination, uint8 [images, H, W, C].

        Raises:
            UserError: what is drawn comes from a package that is not installed.
        """

    def class_of(self, values: tuple[str, ...]) -> tuple[str, str]:
        """Identifier and readable name of the class of a combination."""
        return "-".join(values), " ".join(values)

    def drawn(self, split: str) -> list[Drawn]:
        """The combinations of a split in the order of its rows, class by class."""
        found = self.combinations(split_name(split))
        return found if self.label == CLASS else sorted(found, key=self._labelled)

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """Identifier and name of each class; with `label` the values of the attribute, sorted."""
        return list(dict.fromkeys(self._class(one) for one in self.drawn(split)))

    def attributes(self, split: Split) -> Mapping[str, Sequence[str]]:
        """The value of each attribute for each row."""
        drawn = self.drawn(split.name)
        return {
            name: [value for one in drawn for value in one.images * [one.values[place]]]
            for place, name in enumerate(self.attribute_names)
        }

    def recorded_parameters(self) -> Settings:
        """Those that differ from their defaults: records from before there were any keep their names."""
        return self.changed_parameters()

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Describe the contents of a split; their `fill` renders the images, class by class.

        Raises:
            UsageError: a source was given, and this dataset reads none.
        """
        if source is not None:
            raise UsageError(f"--from {source}: {self.name} is rendered, not imported; leave --from out")
        drawn, classes = self.drawn(split), self.class_list(split)
        counts = dict.fromkeys(classes, 0)
        sources = []
        for one in drawn:
            kind = self._class(one)
            sources += [f"{kind[0]} image {image:02}" for image in range(counts[kind], counts[kind] + one.images)]
            counts[kind] += one.images

        def fill(images: np.ndarray, progress: Progress) -> None:
            with progress.track(f"rendering {self.name}, {split}: images", len(images)) as advance:
                start = 0
                for one in drawn:
                    images[start : start + one.images] = self.render(split, one)
                    start += one.images
                    advance(one.images)

        identifiers, names = zip(*classes, strict=True)
        return Contents(identifiers, names, list(counts.values()), self.image_shape, fill, sources)

    def _labelled(self, one: Drawn) -> str:
        return one.values[self.attribute_names.index(self.label)]

    def _class(self, one: Drawn) -> tuple[str, str]:
        if self.label == CLASS:
            return self.class_of(one.values)
        return self._labelled(one), self._labelled(one)
