"""How a user's own images are divided into classes: by folders, in a folder or an archive, or by a CSV file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import UserError
from ....core.tables import csv_rows
from ..base import SPLITS
from .archives import archive, is_archive
from .holders import FolderFiles, Member
from .image_files import is_image

FILE_COLUMNS, CLASS_COLUMNS, SPLIT_COLUMN = ("file", "filename", "path", "image"), ("label", "class"), "split"


@dataclass(frozen=True)
class Layout:
    """The classes of a user's images.

    Attributes:
        classes: the images of each class, sorted by name. Identifiers are folders relative to the root, as
            "animals/dogs/husky", without the folder of a class split; or the labels of a CSV file.
        splits: the class split of each class, where the images give one.
        empty: folders where classes stand, without an image.
    """

    classes: Mapping[str, Sequence[Member]]
    splits: Mapping[str, str] | None
    empty: Sequence[str] = ()


def read_layout(root: Path) -> Layout:
    """Find the classes below a folder, in an archive, or in a CSV file.

    Raises:
        UserError: there is no such thing, or it is of none of the known forms.
    """
    if not root.exists():
        raise UserError(f"root={root}: no such file or folder")
    if root.suffix.lower() == ".csv":
        return _from_csv(root)
    if root.is_dir():
        return _from_tree(root, FolderFiles(root).members(is_image))
    if is_archive(root):
        return _from_tree(root, archive(root).members(is_image))
    raise UserError(f"root={root}: neither a folder, nor a zip or tar file, nor a CSV file")


def _from_tree(root: Path, members: Sequence[Member]) -> Layout:
    """Classes are the folders that images lie directly in; `train`, `val` and `test` at the top are class splits."""
    top = "" if root.is_dir() else _wrapper(members)
    folders: dict[str, list[Member]] = {}
    for member in members:
        folders.setdefault(member.name.removeprefix(top).rpartition("/")[0], []).append(member)
    folders.pop("", None)  # images beside the class folders are in no class
    if not folders:
        raise UserError(f"root={root}: no folder with images in it; expected class/image.jpg, or train/class/image.jpg …")
    tops = {folder.partition("/")[0] for folder in folders}
    if not tops & set(SPLITS):
        return Layout(_sorted(folders), None, _empty(root, folders))
    if not tops <= set(SPLITS) or not all("/" in folder for folder in folders):
        strange = sorted(tops - set(SPLITS)) or sorted(folder for folder in folders if "/" not in folder)
        raise UserError(
            f"root={root}: beside or instead of train/class, val/class and test/class there are images in '{strange[0]}'; the "
            "folders at the top are either class splits, or classes"
        )
    return _given_splits(root, [(folder.partition("/")[2], folder.partition("/")[0], folders[folder]) for folder in folders])


def _wrapper(members: Sequence[Member]) -> str:
    """The folder that all members of an archive are in, when classes or splits are below it: "photos/"."""
    parts = [member.name.split("/") for member in members]
    tops = {part[0] for part in parts}
    wrapped = len(tops) == 1 and not tops & set(SPLITS) and all(len(part) > 2 for part in parts)
    return f"{tops.pop()}/" if wrapped else ""


def _empty(root: Path, folders: Mapping[str, Sequence[Member]]) -> list[str]:
    if not root.is_dir():
        return []
    filled = {folder.partition("/")[0] for folder in folders}
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [name for name in names if name not in filled]


def _given_splits(root: Path, found: Sequence[tuple[str, str, Sequence[Member]]]) -> Layout:
    """A layout from (class, split, images), several of one class put together."""
    splits: dict[str, str] = {}
    classes: dict[str, list[Member]] = {}
    for class_id, split, images in found:
        if splits.setdefault(class_id, split) != split:
            raise UserError(
                f"root={root}: class '{class_id}' is in {splits[class_id]} and in {split}; in few-shot learning class splits "
                "share no class"
            )
        classes.setdefault(class_id, []).extend(images)
    return Layout(_sorted(classes), splits)


def _sorted(classes: Mapping[str, Sequence[Member]]) -> dict[str, list[Member]]:
    return {class_id: sorted(classes[class_id], key=lambda member: member.name) for class_id in sorted(classes)}


def _from_csv(path: Path) -> Layout:
    """One row an image: its file, relative to the CSV file, its class, and perhaps the split of the class."""
    header, *rows = csv_rows(path) or [[]]
    columns = {name.strip().lower(): place for place, name in enumerate(header)}
    file = next((columns[name] for name in FILE_COLUMNS if name in columns), None)
    label = next((columns[name] for name in CLASS_COLUMNS if name in columns), None)
    split = columns.get(SPLIT_COLUMN)
    if file is None or label is None or not rows:
        raise UserError(f"root={path}: a CSV file of images has rows under a first line with the columns file and label")
    holder, found, seen = FolderFiles(path.parent), [], set()
    for row in rows:
        if len(row) != len(header) or not row[file] or not row[label]:
            raise UserError(f"root={path}: the row '{','.join(row)}' does not have a file, a label and {len(header)} columns")
        if split is not None and row[split] not in SPLITS:
            raise UserError(f"root={path}: '{row[split]}' is no class split; known: {', '.join(SPLITS)}")
        if row[file] in seen:
            raise UserError(f"root={path}: the file {row[file]} is listed twice")
        seen.add(row[file])
        found.append((row[label], "" if split is None else row[split], [Member(holder, row[file])]))
    absent = [name for name in sorted(seen) if not (path.parent / name).is_file()]
    if absent:
        raise UserError(f"root={path}: it names {len(absent)} files that are not there, the first is {absent[0]}")
    layout = _given_splits(path, found)
    return layout if split is not None else Layout(layout.classes, None)


def split_by_fraction(class_ids: Sequence[str], train: float, val: float) -> dict[str, str]:
    """Divide classes by chance: the split of each, decided by the hash of its name, the rest being test.

    Args:
        class_ids: all classes.
        train: fraction for training.
        val: fraction for validation.
    """
    order = sorted(class_ids, key=lambda class_id: hashlib.sha256(class_id.encode(errors="surrogateescape")).digest())
    first, second = round(train * len(order)), round((train + val) * len(order))
    return {name: "train" if place < first else "val" if place < second else "test" for place, name in enumerate(order)}
