"""tieredImageNet: 608 classes of ImageNet, split so that the classes of two splits are far apart in WordNet.

A class has all its images of ILSVRC-2012's training set, 732 to 1,300. The published pickles name classes by words. Their
authors resized the images (OpenCV, bicubic), so that these differ a little from images made from ILSVRC-2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.errors import UserError
from .listed import ResizedDataset
from .reading.arrays import NpzImages, PickledImages, open_pickle
from .reading.holders import FolderFiles, Member
from .reading.imagenet_files import imagenet_members, images_by_class, numbered
from .split import SPLITS

LABELS, PICKLED, NPZ = "_labels.pkl", "_images_png.pkl", "_images.npz"


@dataclass(frozen=True)
class TieredImageNet(ResizedDataset):
    """608 classes of ImageNet with 779,165 photographs, split by categories: 351 classes, 97 and 160."""

    name: ClassVar[str] = "tiered-imagenet"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "Ren et al. 2018, Meta-learning for semi-supervised few-shot classification, arXiv:1803.00676"
    licence: ClassVar[str] = "ImageNet's terms of access (research and education, no redistribution)"
    homepage: ClassVar[str] = "https://www.image-net.org"
    takes: ClassVar[str] = (
        "an ILSVRC-2012 training set (a folder a class, or its tar file), or train_images_png.pkl (or train_images.npz) with "
        "train_labels.pkl, and so for val and test"
    )
    totals: ClassVar[Mapping[str, int]] = {"train": 448_695, "val": 124_261, "test": 206_209}

    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """The images of each class, sorted by the numbers in their names, or in the order of the pickle."""
        members = imagenet_members(source, class_ids, lambda name: name.endswith((LABELS, PICKLED, NPZ)))
        by_class = images_by_class(members, class_ids)
        if by_class:
            return {class_id: numbered(class_id, images) or images for class_id, images in by_class.items()}
        return self._in_pickles({str(member): member for member in members}, class_ids)

    def _in_pickles(self, files: Mapping[str, Member], class_ids: Sequence[str]) -> dict[str, list[Member]]:
        """The images in the files of Ren et al.

        Raises:
            UserError: a file is damaged or has another form.
        """
        by_words = {_first_words(name): class_id for split in SPLITS for class_id, name in self.class_list(split)}
        found: dict[str, list[Member]] = {}
        for name, labels in files.items():
            start = name.removesuffix(LABELS)
            images = files.get(start + PICKLED) or files.get(start + NPZ)
            if start == name or images is None:
                continue
            words, numbers = _read_labels(labels)
            classes = [by_words.get(_first_words(text)) for text in words]
            if not set(classes) & set(class_ids):
                continue  # the file of another split
            holding = _open_images(images, len(numbers))
            for label in np.unique(numbers):
                class_id = classes[label]
                if class_id in class_ids:
                    found[class_id] = [holding.member(int(row)) for row in np.flatnonzero(numbers == label)]
        return found


def _first_words(text: str) -> str:
    """The first word or words of a synonym set or readable name, in lower case: `crane` from "crane (bird)"."""
    return text.partition(",")[0].partition(" (")[0].strip().lower()


def _read_labels(file: Member) -> tuple[list[str], np.ndarray]:
    """The words of each label, and the label of each image, int64 [n].

    Raises:
        UserError: the file is damaged or has another form.
    """
    content: Any = open_pickle(file)[0]
    try:
        numbers = np.asarray(content["label_specific"]).astype(np.int64).reshape(-1)
        words = [str(text) for text in content["label_specific_str"]]
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(words):
            raise ValueError("a label without words")
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{file}: not tieredImageNet's labels, with label_specific and label_specific_str") from error
    return words, numbers


def _open_images(file: Member, count: int) -> PickledImages | NpzImages:
    if file.name.endswith(NPZ):
        if not isinstance(file.holder, FolderFiles):
            raise UserError(f"{file}: an npz file is not read inside an archive; extract it")
        holding = NpzImages(file)
        images = range(holding.shape[0])
    else:
        images, mapping = open_pickle(file)
        if not isinstance(images, list) or not all(isinstance(image, np.ndarray) for image in images):
            raise UserError(f"{file}: not tieredImageNet's images, a list of PNG files")
        holding = PickledImages(file, images, mapping)
    if len(images) != count:
        raise UserError(f"{file}: {len(images)} images, but {count} labels")
    return holding
