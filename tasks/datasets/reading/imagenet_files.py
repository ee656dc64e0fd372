"""Finding the images of ImageNet's classes, by WordNet id, in the usual forms of ImageNet and its subsets.

The images of a class are in a folder or tar file named by its WordNet id, or their own names begin with the id:
n01532829_5.JPEG as in ILSVRC-2012, n0153282900000005.jpg as in mini-ImageNet. Folders of class splits around them are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from .archives import find_holders
from .holders import Keep, Member
from .image_files import is_image

WORDNET_ID = re.compile(r"n\d{8}")


def class_of(name: str, class_ids: Collection[str]) -> str | None:
    """The class of a file by its path, if it is one of `class_ids`; else None."""
    *folders, file = name.split("/")
    if file[:9] in class_ids:
        return file[:9]
    return folders[-1] if folders and folders[-1] in class_ids else None


def imagenet_members(source: Path, class_ids: Collection[str], also: Keep) -> list[Member]:
    """The image files of the classes in a source, and the other files whose name `also` accepts.

    Raises:
        UserError: something in the source cannot be read.
    """

    def keep(name: str) -> bool:
        return class_of(name, class_ids) is not None if is_image(name) or name.endswith(".tar") else also(name)

    holders = find_holders(source)
    # A folder of 1,000 tar files, one for each class, is common: those of other classes are not even opened.
    unwanted = [holder for holder in holders if WORDNET_ID.fullmatch(holder.path.stem) and holder.path.stem not in class_ids]
    found = [member for holder in holders if holder not in unwanted for member in holder.members(keep)]
    return [member for member in found if not member.name.endswith(".tar")]


def images_by_class(members: Iterable[Member], class_ids: Collection[str]) -> dict[str, list[Member]]:
    """The image files of each class. Where two have the same class and file name, the first counts."""
    found: dict[str, dict[str, Member]] = {}
    for member in members:
        class_id = class_of(member.name, class_ids)
        if class_id is not None and is_image(member.name):
            found.setdefault(class_id, {}).setdefault(member.file_name, member)
    return {class_id: list(images.values()) for class_id, images in found.items()}


def numbered(class_id: str, members: Iterable[Member]) -> list[Member]:
    """The images named as in ILSVRC-2012's training set, such as n01532829_5.JPEG, sorted by their number."""
    pattern = re.compile(rf"{class_id}_(\d+)")
    matches = [(match, member) for member in members if (match := pattern.fullmatch(member.stem))]
    return [member for _, member in sorted(matches, key=lambda pair: int(pair[0][1]))]
