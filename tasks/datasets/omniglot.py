"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people (Lake et al. 2015).

As in the papers on few-shot learning, drawings have 28×28 pixels with ink = 1, rotations by 90° are classes of their own, and
the characters are split as in Vinyals et al. (2016, arXiv:1606.04080): 1,028 train, 172 val and 423 test characters. All
rotations of a character are in one split. The list of the split was published with the code of prototypical networks (Snell
et al. 2017, arXiv:1703.05175).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from ...core.options import parameter
from ...core.progress import Progress
from ..taxonomy import Taxonomy
from . import omniglot_sources
from .base import Contents, Dataset, existing
from .omniglot_sources import DRAWERS, Character
from .split import split_name

SIDE = 28  # pixels
LIST = Path(__file__).parent / "lists" / "omniglot.csv"


@dataclass(frozen=True)
class Omniglot(Dataset):
    """Omniglot at 28×28, ink 255 on paper 0, in the class split of Vinyals et al."""

    name: ClassVar[str] = "omniglot"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = (
        "Lake, Salakhutdinov and Tenenbaum 2015, Human-level concept learning through probabilistic program induction, "
        "Science 350 (6266), doi:10.1126/science.aab3050"
    )
    licence: ClassVar[str] = "MIT"
    homepage: ClassVar[str] = "https://github.com/brendenlake/omniglot"

    rotations: bool = parameter(True, "whether each rotation of a character by 90 degrees is a class of its own")

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(`alphabet/character/rotNNN`, readable name) of each class, character by character as in the published lists."""
        return [
            (f"{character.identifier}/rot{degrees:03}" if self.rotations else character.identifier, _spoken(character, degrees))
            for character in characters(split)
            for degrees in self._degrees()
        ]

    def taxonomy(self, split: str) -> Taxonomy:
        """The tree of alphabets, characters and rotations."""
        return Taxonomy.from_folder_tree([class_id for class_id, _ in self.class_list(split)])

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Find the drawings of a split in the user's copy, or download the original.

        Raises:
            UserError: the copy is incomplete, or there is no network.
        """
        source = omniglot_sources.download(progress) if source is None else existing(source)
        wanted = characters(split)
        parts = omniglot_sources.find_parts(source)
        omniglot_sources.check_complete(parts, wanted, source)

        def fill(images: np.ndarray, progress: Progress) -> None:
            blocks = images.reshape(len(wanted), len(self._degrees()), DRAWERS, SIDE, SIDE)
            place = {character: i for i, character in enumerate(wanted)}
            with progress.track(f"reading omniglot, {split}: characters", len(wanted)) as advance:
                for character, ink in omniglot_sources.drawings(parts, wanted):
                    upright = shrink(ink)  # [20, 28, 28]
                    for turns in range(len(self._degrees())):
                        blocks[place[character], turns] = np.rot90(upright, turns, axes=(1, 2))
                    advance(1)

        identifiers, names = zip(*self.class_list(split), strict=True)
        return Contents(
            class_ids=identifiers,
            class_names=names,
            counts=[DRAWERS] * len(identifiers),
            shape=(SIDE, SIDE, 1),
            fill=fill,
            sources=[f"{identifier} drawer {drawer:02}" for identifier in identifiers for drawer in range(1, DRAWERS + 1)],
        )

    def _degrees(self) -> Sequence[int]:
        return (0, 90, 180, 270) if self.rotations else (0,)


def characters(split: str) -> list[Character]:
    """The characters of a class split, in the order of the published list.

    Raises:
        UsageError: there is no such split.
    """
    split_name(split)
    with LIST.open(encoding="utf-8", newline="") as file:
        return [
            Character(row["alphabet"], row["character"], row["part"], int(row["row"]))
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


def _spoken(character: Character, degrees: int) -> str:
    upright = f"{character.alphabet.replace('_', ' ')} {character.name}"
    return f"{upright} rotated {degrees}" if degrees else upright


def shrink(ink: np.ndarray) -> np.ndarray:
    """Resize drawings from bool [n, 105, 105], True = ink, to uint8 [n, 28, 28], ink = 255, by PIL's bilinear filter."""
    pictures = (Image.fromarray(drawing) for drawing in ink.astype(np.uint8) * 255)
    return np.stack([np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for picture in pictures])
