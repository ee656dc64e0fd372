"""Dividing a user's images into classes and class splits. Where two readings are possible, an option decides."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ....core.errors import UserError, listed
from .holders import Member

ClassFolder = Literal["auto", "inner", "outer"]
SplitFolders = Literal["auto", "classes", "images", "none"]
SPLIT_WORDS = {
    "train": ("train", "training", "trainval", "trn"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
_WORD = re.compile(r"(?:(?:images?|imgs?|data)[ _-]*)?([a-z]+?)(?:[ _-]*(?:set|data|images?|imgs?|split|folder|\d+))?")


@dataclass(frozen=True)
class Choices:
    """The user's choices for reading folders and columns. With the defaults, an ambiguous layout is an error.

    Attributes:
        class_folder: inner: a class is a folder that holds images; outer: a class is a folder at the top, with all below it.
        split_folders: the meaning of train, validation, … at the top (or in the column split): classes for class splits, images
            for image splits (parts of the same classes), none for classes themselves.
        columns: names of the columns of a CSV file for file and label, and perhaps split, with commas between them.
        pattern: a regular expression with a group label; file names without their suffix match it as a whole.
    """

    class_folder: ClassFolder = "auto"
    split_folders: SplitFolders = "auto"
    columns: str = ""
    pattern: str = ""


@dataclass(frozen=True)
class Layout:
    """The classes of a user's images.

    Attributes:
        classes: the images of each class, sorted by name. Identifiers are folders relative to the root, such as
            "animals/dogs/husky", without the folder of a split; or the labels of a CSV file.
        splits: the class split of each class; None where the images give none.
        read_as: sentences that tell the user how folders or columns were read.
        left_out: files and folders that are in no class, in words.
    """

    classes: Mapping[str, Sequence[Member]]
    splits: Mapping[str, str] | None
    read_as: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def __str__(self) -> str:
        """The numbers of classes and images, and how they were read, on one line."""
        parts = [f"{len(self.classes)} classes, {sum(map(len, self.classes.values()))} images", *self.read_as, *self._alike()]
        return "; ".join([*parts, *([f"left out: {', '.join(self.left_out)}"] if self.left_out else [])])

    def _alike(self) -> list[str]:
        """Classes whose names differ in case or Unicode form alone, in words."""
        groups: dict[str, list[str]] = {}
        for class_id in self.classes:
            groups.setdefault(unicodedata.normalize("NFKC", class_id).casefold(), []).append(class_id)
        alike = [" and ".join(group) for group in groups.values() if len(group) > 1]
        return [f"names that differ in case or Unicode form alone: {listed(alike)}"] if alike else []


def split_meant(name: str) -> str | None:
    """The split that the name of a folder or a cell means: train for "Training", "train_images" or "train2017"; or None."""
    word = _WORD.fullmatch(name.strip().lower())
    return next((split for split, words in SPLIT_WORDS.items() if word and word[1] in words), None)


def with_splits(root: str, what: str, found: Iterable[tuple[str, str, Sequence[Member]]], choice: SplitFolders) -> Layout:
    """Put the images of each class together, and decide whether splits divide classes or images.

    Args:
        root: name of the source, for messages.
        what: "folders" or "column split", for messages.
        found: (class, name of its split, images).
        choice: see `Choices`.

    Raises:
        UserError: some classes are in several splits and some are not, or one split has two names.
    """
    classes: dict[str, list[Member]] = {}
    by_name: dict[str, set[str]] = {}
    for class_id, name, images in found:
        classes.setdefault(class_id, []).extend(images)
        by_name.setdefault(name, set()).add(class_id)
    names = sorted(by_name, key=lambda name: (list(SPLIT_WORDS).index(split_meant(name) or "test"), name))
    parts = Counter(class_id for ids in by_name.values() for class_id in set(map(str.casefold, ids)))
    shared = [class_id for class_id in sorted(classes) if parts[class_id.casefold()] > 1]
    same = len(names) > 1 and len(set(map(frozenset, by_name.values()))) == 1
    if choice == "images" or (choice == "auto" and same):
        return Layout(by_class(classes), None, [f"{what} {', '.join(names)} read as image splits"])
    if shared:
        where = [name for name in names if shared[0].casefold() in map(str.casefold, by_name[name])]
        others = f" (and {len(shared) - 1} more)" if len(shared) > 1 else ""
        raise UserError(
            f"{root}: class '{shared[0]}'{others} is in {' and in '.join(where)}, but class splits share no class; if they "
            "divide the images of each class, --set dataset.split_folders=images"
        )
    meant = Counter(filter(None, map(split_meant, names)))
    twice = [name for name in names if meant[split_meant(name) or ""] > 1]
    if twice:
        raise UserError(
            f"{root}: {' and '.join(twice)} both mean the class split {split_meant(twice[0])}; rename one, or put the "
            "images of each class together: --set dataset.split_folders=images"
        )
    splits = {class_id: split for name, ids in by_name.items() for class_id in ids if (split := split_meant(name))}
    return Layout(by_class(classes), splits, [f"{what} {', '.join(names)} read as class splits"])


def by_class(classes: Mapping[str, Sequence[Member]]) -> dict[str, list[Member]]:
    """Classes and their images, both sorted by name."""
    return {class_id: sorted(classes[class_id], key=lambda member: member.name) for class_id in sorted(classes)}


def counted(others: Counter[str]) -> list[str]:
    """The numbers of files that are not images, by suffix: "60 .heic"."""
    kinds = [f"{number} {suffix}" for suffix, number in others.most_common()]
    return [listed(kinds, 8)] if kinds else []


def split_by_fraction(class_ids: Sequence[str], train: float, val: float) -> dict[str, str]:
    """Divide classes in the order of the hashes of their names, so that the order of `class_ids` does not matter.

    Args:
        class_ids: all classes.
        train: fraction of the classes for train.
        val: fraction of the classes for val; the rest is for test.

    Returns:
        The split of each class.
    """
    order = sorted(class_ids, key=lambda class_id: hashlib.sha256(class_id.encode(errors="surrogateescape")).digest())
    first, second = round(train * len(order)), round((train + val) * len(order))
    return {name: "train" if place < first else "val" if place < second else "test" for place, name in enumerate(order)}
