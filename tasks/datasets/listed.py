"""The base of datasets whose class lists ship with the package and whose images the user brings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...core.errors import UserError
from ...core.options import parameter
from ...core.progress import Progress
from ...core.ranges import LARGEST_SIZE
from ..class_lists import listed_classes, listed_taxonomy
from ..taxonomy import Taxonomy
from .base import Contents, Dataset, existing
from .reading.decoding import decoded
from .reading.holders import Member
from .reading.image_files import Square
from .split import split_name


def image_contents(
    classes: Sequence[tuple[str, str]], members: Sequence[Sequence[Member]], square: Square, origin: str = ""
) -> Contents:
    """The contents of a split whose images have to be decoded.

    Args:
        classes: (identifier, readable name) of each class.
        members: the images of each class.
        square: how they become square.
        origin: origin of the images, for the manifest.
    """
    identifiers, names = zip(*classes, strict=True)
    rows = [member for group in members for member in group]
    return Contents(
        class_ids=identifiers,
        class_names=names,
        counts=[len(group) for group in members],
        shape=(square.size, square.size, 3),
        sources=[member.name for member in rows],
        stream=lambda done: decoded(rows, square, done),
        origin=origin,
    )


@dataclass(frozen=True)
class ListedDataset(Dataset):
    """A dataset with published class lists, whose images come from the user's copy.

    Attributes:
        takes: list of the forms of a copy that `--from` reads, for messages.
        per_class: published number of images of every class; None where classes differ.
        totals: published number of images of each split, where classes differ.
    """

    takes: ClassVar[str]
    per_class: ClassVar[int | None] = None
    totals: ClassVar[Mapping[str, int]] = {}

    @property
    @abstractmethod
    def side(self) -> int:
        """Height and width of the images."""

    @abstractmethod
    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """Find the images of classes in a copy, in a fixed order; classes without images are left out.

        Raises:
            UserError: the copy contradicts itself, or cannot be read.
        """

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """(identifier, readable name) of each class, in the order of the published list."""
        return [(listed.class_id, listed.name) for listed in listed_classes(self.name, split_name(split))]

    def taxonomy(self, split: str) -> Taxonomy:
        """WordNet for subsets of ImageNet, the superclasses for subsets of CIFAR-100; CUB-200 has no taxonomy.

        Raises:
            UserError: the dataset has none.
        """
        return listed_taxonomy(self.name, split_name(split))

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Find the images of a split in the user's copy.

        Raises:
            UserError: there is no copy, or classes or images are missing in it.
        """
        if source is None:
            raise UserError(
                f"{self.name} is not prepared and cannot be downloaded; `bench data prepare {self.name} --from PATH` takes "
                f"{self.takes} ({self.homepage})"
            )
        classes = self.class_list(split)
        found = self.find(existing(source), [identifier for identifier, _ in classes])
        self._check_classes(source, split, classes, found)
        self._check_counts(source, split, classes, found)
        return image_contents(classes, [found[identifier] for identifier, _ in classes], Square(self.side))

    def _check_classes(
        self, source: Path, split: str, classes: Sequence[tuple[str, str]], found: Mapping[str, Sequence[Member]]
    ) -> None:
        missing = [f"{identifier} ({name})" for identifier, name in classes if not found.get(identifier)]
        if len(missing) == len(classes):
            raise UserError(f"--from {source}: none of the {split} classes of {self.name} is here; it takes {self.takes}")
        if missing:
            raise UserError(
                f"--from {source}: {len(missing)} of the {len(classes)} {split} classes of {self.name} have no image here, "
                f"the first is {missing[0]}"
            )

    def _check_counts(
        self, source: Path, split: str, classes: Sequence[tuple[str, str]], found: Mapping[str, Sequence[Member]]
    ) -> None:
        counts = {f"{identifier} ({name})": len(found[identifier]) for identifier, name in classes}
        wrong = [name for name, count in counts.items() if self.per_class not in (None, count)]
        if wrong:
            others = f", and {len(wrong) - 1} more classes differ" if len(wrong) > 1 else ""
            raise UserError(
                f"--from {source}: class {wrong[0]} has {counts[wrong[0]]} images here, {self.per_class} as published{others}"
            )
        total = sum(counts.values())
        if total != self.totals.get(split, total):
            smallest = min(counts, key=counts.__getitem__)
            raise UserError(
                f"--from {source}: the {split} classes have {total} images here, {self.totals[split]} as published; the "
                f"smallest is {smallest} with {counts[smallest]}"
            )


@dataclass(frozen=True)
class ResizedDataset(ListedDataset):
    """A dataset of photographs, which are stored at the size that the user wants."""

    size: int = parameter(84, "height and width in pixels", minimum=1, maximum=LARGEST_SIZE)

    @property
    def side(self) -> int:
        """Height and width of the images."""
        return self.size
