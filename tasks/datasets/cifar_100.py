"""Reading CIFAR-100, which CIFAR-FS and FC100 divide by class: its python archive, or a tree with a folder for each class.

The python archive holds two pickles, `train` (500 images a class) and `test` (100). Both are read, since few-shot splits divide
classes and not images. Within a class the images are sorted by file name, so that the archive and trees made from it give the
same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import UserError
from ..class_lists import listed_classes
from .listed import ListedDataset
from .reading.archives import find_holders
from .reading.arrays import PickledImages, open_pickle
from .reading.holders import Member
from .reading.image_files import is_image
from .split import SPLITS

SIDE = 32  # pixels


class Cifar100Subset(ListedDataset):
    """A dataset whose classes are CIFAR-100's."""

    licence: ClassVar[str] = "not stated; CIFAR-100 is part of the 80 million tiny images, collected from the web"
    homepage: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar.html"
    takes: ClassVar[str] = (
        "CIFAR-100's python archive (cifar-100-python.tar.gz, packed or unpacked), or a tree with a folder a class"
    )
    per_class: ClassVar[int] = 600

    @property
    def side(self) -> int:
        """Height and width of the images."""
        return SIDE

    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """The images of each class, by file name."""
        names = sorted(listed.class_id for split in SPLITS for listed in listed_classes(self.name, split))  # by fine label
        found: dict[str, list[tuple[str, Member]]] = {}
        for holder in find_holders(source):
            for member in holder.members(lambda name: _is_batch(name) or (is_image(name) and _folder(name) in class_ids)):
                images = _batch(member, names, class_ids) if _is_batch(member.name) else [(member.parent, member.stem, member)]
                for class_id, name, image in images:
                    found.setdefault(class_id, []).append((name, image))
        by_name = {class_id: sorted(images, key=lambda image: (image[0], image[1].name)) for class_id, images in found.items()}
        return {class_id: [member for _, member in images] for class_id, images in by_name.items()}


def _folder(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def _is_batch(name: str) -> bool:
    """Whether a file is one of the archive's two pickles. Unpacked, they may lie in the source folder itself."""
    return name in ("train", "test") or name.endswith(("cifar-100-python/train", "cifar-100-python/test"))


def _batch(file: Member, names: list[str], class_ids: Collection[str]) -> list[tuple[str, str, Member]]:
    """(class, stem of the file name, image) of each image of the wanted classes in one pickle.

    Raises:
        UserError: the file is damaged or has another form.
    """
    content: Any = open_pickle(file)[0]
    try:
        labels = [names[label] for label in content["fine_labels"]]
        planes = content["data"].reshape(len(labels), 3, SIDE, SIDE)
        if planes.dtype != np.uint8:
            raise ValueError(planes.dtype)
        stems = [str(name).removesuffix(".png") for name in content["filenames"]]
        holding = PickledImages(file, planes.transpose(0, 2, 3, 1), None)
        rows = zip(labels, stems, strict=True)
        return [(label, stem, holding.member(row)) for row, (label, stem) in enumerate(rows) if label in class_ids]
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{file}: not one of CIFAR-100's python files, with data, fine_labels and filenames") from error
