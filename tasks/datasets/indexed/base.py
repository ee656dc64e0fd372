"""The base of datasets of images by number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from ..photos import Photos
from ..reading.folder_layout import Layout, by_class, with_splits
from ..reading.holders import Holder, Keep, Member, Read
from ..reading.image_files import Square
from .counted import Counted


class CountedImages(Holder):
    """Images by number as members; a member's place is its number."""

    def __init__(self, owner: str, counted: Counted) -> None:
        """Hold them."""
        super().__init__(Path(owner))
        self.counted = counted

    @property
    def in_order(self) -> bool:
        """True, since another library may not like several threads."""
        return True

    def members(self, keep: Keep) -> list[Member]:
        """Every image that `keep` accepts, as "train/0"."""
        names = [f"{part}/{number}" for part, count in self.counted.parts.items() for number in range(count)]
        return [Member(self, name, place) for place, name in enumerate(names) if keep(name)]

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that gives an image."""
        yield lambda member, most=-1: self.counted.read(member.place)


@dataclass(frozen=True)
class Indexed(Photos):
    """Images by number. Where all are squares of one size, and not larger than the backbone's, they keep it."""

    @cached_property
    @abstractmethod
    def counted(self) -> Counted:
        """The images.

        Raises:
            UserError: they cannot be opened.
        """

    @property
    def owner(self) -> str:
        """The name."""
        return self.name

    @property
    def place(self) -> str:
        """The digest."""
        return self.counted.digest[:12]

    @cached_property
    def origin(self) -> str:
        """Name and digest."""
        return f"{self.name} ({self.place})"

    @property
    def square(self) -> Square:
        """As in `Photos`; without a backbone, squares of one size keep it."""
        side = None if self.size else self.counted.side
        return replace(super().square, size=side, share=1.0) if side else super().square

    def for_backbone(self, square: Square) -> Self:
        """As in `Photos`; squares of one size, not larger, keep it."""
        side = self.counted.side
        keep = self.size is None and side is not None and side <= square.size
        return super().for_backbone(Square(side or 0, square.fit, square.filter) if keep else square)

    @cached_property
    def layout(self) -> Layout:
        """The images of each class, and the split of each class where the parts share no class."""
        found: dict[tuple[str, str], list[Member]] = {}
        for member in CountedImages(self.name, self.counted).members(lambda name: True):
            class_id = self.counted.class_names[int(self.counted.labels[member.place])]
            found.setdefault((class_id, member.name.partition("/")[0]), []).append(member)
        if len(self.counted.parts) == 1:
            return Layout(by_class({class_id: members for (class_id, _), members in found.items()}), None)
        divided = len({class_id for class_id, _ in found}) == len(found)
        several = [(class_id, part, members) for (class_id, part), members in found.items()]
        return with_splits(self.name, "parts", several, "classes" if divided else "images")
