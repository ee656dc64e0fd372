"""CUB-200-2011: photographs of 200 species of birds, in the class split of Chen et al. 2019 (arXiv:1904.04232)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .listed import ResizedDataset
from .reading.archives import find_holders
from .reading.holders import Member
from .reading.image_files import is_image


@dataclass(frozen=True)
class Cub200(ResizedDataset):
    """200 species of birds with 41 to 60 photographs each, 11,788 in all, split alternately into 100, 50 and 50 classes.

    Whole photographs are resized; their bounding boxes are not used.
    """

    name: ClassVar[str] = "cub-200"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = (
        "Wah et al. 2011, The Caltech-UCSD Birds-200-2011 dataset, CNS-TR-2011-001; class split of Chen et al. 2019, A closer "
        "look at few-shot classification, arXiv:1904.04232"
    )
    licence: ClassVar[str] = "not stated; for research, the photographs belong to their authors"
    homepage: ClassVar[str] = "https://www.vision.caltech.edu/datasets/cub_200_2011"
    takes: ClassVar[str] = "CUB_200_2011.tgz or CUB_200_2011/, or a folder a class such as 001.Black_footed_Albatross"
    totals: ClassVar[Mapping[str, int]] = {"train": 5_885, "val": 2_950, "test": 2_953}

    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """The images of each class, sorted by file name. Where two have the same class and file name, the first counts."""
        found: dict[str, dict[str, Member]] = {}
        wanted = set(class_ids)
        for holder in find_holders(source):
            for member in holder.members(is_image):
                if member.parent in wanted:
                    found.setdefault(member.parent, {}).setdefault(member.file_name, member)
        return {class_id: [members[name] for name in sorted(members)] for class_id, members in found.items()}
