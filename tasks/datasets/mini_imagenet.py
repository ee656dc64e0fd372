"""mini-ImageNet: 100 classes of ImageNet with 600 photographs each (Vinyals et al. 2016, arXiv:1606.04080).

The classes and the choice of images are those of Ravi and Larochelle (2017). Their published file names number the images:
n0153282900000005 is the fifth image of class n01532829 in ILSVRC-2012's training set, sorted by number. A copy of ILSVRC-2012
therefore gives the same dataset as a copy of mini-ImageNet, if both were resized in the same way.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...core.errors import UserError
from ..class_lists import LISTS
from .listed import ResizedDataset
from .reading.arrays import PickledImages, open_pickle
from .reading.holders import Member
from .reading.imagenet_files import WORDNET_ID, imagenet_members, images_by_class, numbered


@dataclass(frozen=True)
class MiniImageNet(ResizedDataset):
    """100 classes of ImageNet with 600 photographs each, in the class split of Ravi and Larochelle: 64, 16 and 20."""

    name: ClassVar[str] = "mini-imagenet"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = (
        "Vinyals et al. 2016, Matching networks for one shot learning, arXiv:1606.04080; class split of Ravi and Larochelle "
        "2017, Optimization as a model for few-shot learning, openreview rJY0-Kcll"
    )
    licence: ClassVar[str] = "ImageNet's terms of access (research and education, no redistribution)"
    homepage: ClassVar[str] = "https://www.image-net.org"
    takes: ClassVar[str] = (
        "images/ with train.csv, val.csv and test.csv, a folder a class, zip or tar files of these, an ILSVRC-2012 training "
        "set, or mini-imagenet-cache-*.pkl"
    )
    per_class: ClassVar[int] = 600

    def find(self, source: Path, class_ids: Sequence[str]) -> Mapping[str, Sequence[Member]]:
        """The 600 images of each class, in the order of Ravi and Larochelle's lists where the file names allow it."""
        members = imagenet_members(source, class_ids, lambda name: _is_list(name) or _is_cache(name))
        by_class = images_by_class(members, class_ids)
        named = _named_in_csv_files(members)
        if not by_class and not named:
            return _in_caches(members, class_ids)
        if named and (as_named := _as_named(source, named, by_class, class_ids)):
            return as_named
        positions = published_positions()
        return {class_id: _chosen(class_id, images, positions[class_id]) for class_id, images in by_class.items()}


def _is_list(name: str) -> bool:
    return name.rpartition("/")[2] in ("train.csv", "val.csv", "test.csv")


def _is_cache(name: str) -> bool:
    return re.fullmatch(r"mini-?imagenet-cache.*\.pkl", name.rpartition("/")[2]) is not None


def published_positions() -> dict[str, list[int]]:
    """Positions of mini-ImageNet's images by class: places, counted from 1, in ILSVRC-2012's training set sorted by number.

    The list has one row for each class with a hexadecimal number, whose bit p - 1 is set when image p is one of the 600.
    """
    with (LISTS / "mini-imagenet-images.csv").open(encoding="utf-8", newline="") as file:
        bits = {row["class_id"]: int(row["positions"], 16) for row in csv.DictReader(file)}
    return {class_id: [p + 1 for p in range(number.bit_length()) if number >> p & 1] for class_id, number in bits.items()}


def _chosen(class_id: str, members: Sequence[Member], positions: Sequence[int]) -> Sequence[Member]:
    """Mini-ImageNet's images among those of a class; where they cannot be told, all images, which a message then counts."""
    by_stem = {member.stem: member for member in members}
    published = [by_stem[stem] for position in positions if (stem := f"{class_id}{position:08}") in by_stem]
    if published:
        return published
    in_ilsvrc = numbered(class_id, members)
    if len(in_ilsvrc) >= positions[-1] and len(in_ilsvrc) > len(positions):
        return [in_ilsvrc[position - 1] for position in positions]
    return in_ilsvrc or sorted(members, key=lambda member: member.name)


def _named_in_csv_files(members: Iterable[Member]) -> dict[str, list[str]]:
    """The file names of each class in train.csv, val.csv and test.csv, where the source has them.

    Raises:
        UserError: a file has another form, or a class is in two of them.
    """
    files: dict[str, Member] = {}
    for member in members:
        if _is_list(member.name):
            files.setdefault(member.file_name, member)
    named: dict[str, list[str]] = {}
    listed_in: dict[str, str] = {}
    for name, member in files.items():
        for image, class_id in _csv_rows(member):
            if listed_in.setdefault(class_id, name) != name:
                raise UserError(f"{member}: class {class_id} is also in {listed_in[class_id]}; class splits share no class")
            named.setdefault(class_id, []).append(image)
    return named


def _csv_rows(member: Member) -> list[tuple[str, str]]:
    """(file name, class) of each row below the header."""
    with member.holder.opened() as read:
        content = bytes(read(member))
    try:
        header, *rows = [row for row in csv.reader(content.decode("utf-8-sig").splitlines()) if row]
        image, label = header.index("filename"), header.index("label")
        return [(row[image], row[label]) for row in rows]
    except (ValueError, IndexError, csv.Error) as error:
        raise UserError(f"{member}: not a CSV file whose first line names the columns filename and label") from error


def _as_named(
    source: Path, named: Mapping[str, Sequence[str]], by_class: Mapping[str, Sequence[Member]], class_ids: Sequence[str]
) -> dict[str, list[Member]]:
    """The images that the CSV files name; an empty dictionary for a copy of ILSVRC-2012, where files have other names.

    Raises:
        UserError: an image is missing, or a class is not a WordNet id.
    """
    unlike = [class_id for class_id in named if not WORDNET_ID.fullmatch(class_id)]
    if unlike:
        raise UserError(f"--from {source}: the CSV files name a class '{unlike[0]}', which is no WordNet id such as n01532829")
    files = {member.file_name: member for members in by_class.values() for member in members}
    wanted = {class_id: named[class_id] for class_id in class_ids if class_id in named}
    names = [name for images in wanted.values() for name in images]
    absent = [name for name in names if name.rpartition("/")[2] not in files]
    if absent and len(absent) == len(names) and files:
        return {}
    if absent:
        raise UserError(f"--from {source}: the CSV files name {len(absent)} images that are not here, first {absent[0]}")
    return {class_id: [files[name.rpartition("/")[2]] for name in images] for class_id, images in wanted.items()}


def _in_caches(members: Iterable[Member], class_ids: Sequence[str]) -> dict[str, list[Member]]:
    """The images of mini-imagenet-cache-*.pkl: `image_data`, uint8 [n, H, W, 3], and `class_dict`, class to rows.

    Raises:
        UserError: a cache is damaged or has another form.
    """
    found: dict[str, list[Member]] = {}
    for file in members:
        if not _is_cache(file.name):
            continue
        cache, mapping = open_pickle(file)
        try:
            images, rows_of = cache["image_data"], cache["class_dict"]
            if images.dtype != "uint8" or images.ndim != 4 or images.shape[3] != 3:
                raise ValueError(images.shape)
            holding, rows = PickledImages(file, images, mapping), range(len(images))
            for class_id in rows_of.keys() & set(class_ids):
                found.setdefault(class_id, [holding.member(rows[row]) for row in rows_of[class_id]])
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise UserError(f"{file}: not a cache of mini-ImageNet with image_data and class_dict") from error
    return found
