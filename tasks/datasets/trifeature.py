"""Trifeature: rendered objects in ten shapes, ten textures and ten colours, so that few-shot code can be tried in seconds.

The idea is that of Hermann and Lampinen 2020, "What shapes feature representations? Exploring datasets, architectures, and
training" (arXiv:2006.12433), whose images also combine three features. Here the 1,000 combinations are the classes, and the
images are our own. Nothing is downloaded: a split is rendered at its first use.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...core.errors import UsageError
from ...core.progress import Progress
from ..taxonomy import Taxonomy
from .base import Contents, Dataset, split_name
from .trifeature_rendering import IMAGES, SIZE, render

LIST = Path(__file__).parent / "lists" / "trifeature.csv"


@dataclass(frozen=True)
class Trifeature(Dataset):
    """1,000 classes of 40 images of 32 × 32 pixels: 640 classes for training, 160 for validation, 200 for testing.

    A class is a colour, a texture and a shape ("red striped triangle"). The class splits in lists/trifeature.csv were drawn at
    random once, such that each of the thirty features belongs to exactly 64, 16 and 20 classes. Training therefore shows every
    feature of a test class, but never their combination.
    """

    name: ClassVar[str] = "trifeature"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Hermann and Lampinen 2020, What shapes feature representations?, arXiv:2006.12433"
    licence: ClassVar[str] = "Apache-2.0 (rendered by fewbench)"
    homepage: ClassVar[str] = "https://arxiv.org/abs/2006.12433"
    made_here: ClassVar[bool] = True

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """("red-striped-triangle", "red striped triangle") and so on, in label order."""
        split_name(split)
        with LIST.open(encoding="utf-8", newline="") as file:
            identifiers = [row["class_id"] for row in csv.DictReader(file) if row["split"] == split]
        return [(identifier, identifier.replace("-", " ")) for identifier in identifiers]

    def taxonomy(self, split: str) -> Taxonomy:
        """The taxonomy in which classes that share attributes are near."""
        return Taxonomy.from_attributes([class_id for class_id, _ in self.class_list(split)], self.attributes(split))

    def attributes(self, split: str) -> list[tuple[str, str, str]]:
        """(shape, texture, colour) of each class of a split, in label order."""
        features = [name.split() for _, name in self.class_list(split)]
        return [(shape, texture, colour) for colour, texture, shape in features]

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Describe the contents of a split; their `fill` renders the images, class by class.

        Raises:
            UsageError: a source was given, and this dataset reads none.
        """
        if source is not None:
            raise UsageError(f"--from {source}: {self.name} is rendered, not imported; leave --from out")
        attributes = self.attributes(split)

        def fill(images: np.ndarray, progress: Progress) -> None:
            with progress.track(f"rendering {self.name}, {split}: images", len(images)) as advance:
                for label, (shape, texture, colour) in enumerate(attributes):
                    images[label * IMAGES : (label + 1) * IMAGES] = render(shape, texture, colour)
                    advance(IMAGES)

        identifiers, names = zip(*self.class_list(split), strict=True)
        return Contents(
            class_ids=identifiers,
            class_names=names,
            counts=[IMAGES] * len(identifiers),
            shape=(SIZE, SIZE, 3),
            fill=fill,
            sources=[f"{identifier} image {image:02}" for identifier in identifiers for image in range(IMAGES)],
        )
