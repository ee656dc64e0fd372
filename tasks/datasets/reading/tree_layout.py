"""Classes from the names of folders, in a folder or an archive."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ....core.errors import UserError, listed
from ....core.files import os_errors_named
from .finding import find_images
from .folder_layout import Choices, Layout, by_class, counted, split_meant, with_splits
from .holders import Holder, Member

Parts = tuple[str, ...]  # the folders from the root down to an image
# Names of visits, sessions or days: a number or a date, perhaps after a word for a part.
WORDS = "s|v|t|visit|session|scan|series|seq|sequence|video|clip|take|run|trial|day|week|month|year|part|batch|set|camera|view"
PART = re.compile(rf"(?:{WORDS})?[\W_]*\d[\d\W_]*", re.IGNORECASE)


def layout_of_tree(root: Path, holder: Holder, choices: Choices) -> Layout:
    """Find the classes: the folders that hold images, below the folders of splits where there are any.

    Args:
        root: the user's folder or archive, for messages.
        holder: the holder that reads it.
        choices: how to read ambiguous folders.

    Raises:
        UserError: there is no folder with images, or folders can be read in two ways.
    """
    found, owner = find_images(holder), f"root={root}"
    folders: dict[Parts, list[Member]] = {}
    for member in found.images:
        folders.setdefault(tuple(member.name.split("/")[:-1]), []).append(member)
    loose = len(folders.pop((), ()))
    if not folders:
        seen = ", ".join([*counted(found.others), *([f"{loose} images next to folders"] if loose else [])]) or "nothing"
        raise UserError(
            f"{owner}: no folder with images in it, but {seen}; expected class/image.jpg, or train/class/image.jpg …"
        )
    folders = _unwrapped(folders, packed=not root.is_dir())
    if _has_splits(owner, folders, choices):
        loose += sum(len(folders.pop(folder)) for folder in list(folders) if len(folder) == 1)
        if not folders:
            raise UserError(
                f"{owner}: images lie directly in folders named after splits, not in folders of classes; if these are the "
                "classes, --set dataset.split_folders=none"
            )
        below = {(folder[0], folder[1:]): images for folder, images in folders.items()}
        class_of = _class_ids(owner, {folder for _, folder in below}, choices)
        divided = [(class_of[folder], split, images) for (split, folder), images in below.items()]
        layout = with_splits(owner, "folders", divided, choices.split_folders)
    else:
        class_of = _class_ids(owner, folders, choices)
        classes: dict[str, list[Member]] = {}
        for folder, images in folders.items():
            classes.setdefault(class_of[folder], []).extend(images)
        layout = Layout(by_class(classes), None)
    empty = _empty(root, folders)
    left_out = [*counted(found.others), *([f"{loose} loose"] if loose else []), *empty]
    return Layout(layout.classes, layout.splits, [*layout.read_as, *_nested(class_of)], left_out)


def _unwrapped(folders: Mapping[Parts, list[Member]], packed: bool) -> dict[Parts, list[Member]]:
    """Remove an outer folder around everything: an archive often has one, and splits may have one around them."""
    folders = dict(folders)
    while len({folder[0] for folder in folders}) == 1 and all(len(folder) > 1 for folder in folders):
        around_splits = all(split_meant(folder[1]) for folder in folders)
        if split_meant(next(iter(folders))[0]) or not (packed or around_splits):
            break
        folders, packed = {folder[1:]: images for folder, images in folders.items()}, False
    return folders


def _has_splits(owner: str, folders: Collection[Parts], choices: Choices) -> bool:
    """Whether the folders at the top are splits."""
    tops = sorted({folder[0] for folder in folders})
    called = [top for top in tops if split_meant(top)]
    if choices.split_folders == "none" or not called:
        return False
    if len(called) < len(tops):
        strange = next(top for top in tops if top not in called)
        raise UserError(
            f"{owner}: there are images in '{called[0]}', which is named after a split, and next to it in '{strange}'; the "
            "folders at the top are either splits or classes: if classes, --set dataset.split_folders=none"
        )
    return True


def _class_ids(owner: str, folders: Collection[Parts], choices: Choices) -> dict[Parts, str]:
    """The class of each folder with images.

    Raises:
        UserError: inner folders may be classes or parts of classes.
    """
    if choices.class_folder == "outer":
        return {folder: folder[0] for folder in folders}
    if choices.class_folder == "auto" and (doubt := _doubt(folders)):
        raise UserError(
            f"{owner}: {doubt}; if folders below the top are parts of a class, --set dataset.class_folder=outer; if each "
            "folder with images is a class of its own, --set dataset.class_folder=inner"
        )
    return {folder: "/".join(folder) for folder in folders}


def _doubt(folders: Collection[Parts]) -> str | None:
    """The reason why folders may be parts of classes, in words; or None."""
    known, nested = set(folders), sorted(folder for folder in folders if len(folder) > 1)
    for folder in nested:
        for depth in range(1, len(folder)):
            if folder[:depth] in known:
                return f"'{'/'.join(folder[:depth])}' holds images and folders with images, as '{'/'.join(folder)}'"
    places: dict[str, list[str]] = {}
    for folder in nested:
        inner, outer = folder[-1].casefold(), folder[-2].casefold()  # c0/c0_left is c0/left
        places.setdefault(inner.removeprefix(outer).strip("-_. ") or inner, []).append("/".join(folder))
    repeated = [paths for paths in places.values() if len(paths) > 1]
    if repeated:
        return f"folders of the same name are in several folders ({listed(repeated[0], 2)})"
    if nested and all(PART.fullmatch(folder[-1].removeprefix(folder[-2])) for folder in nested):
        return f"folders in folders are called by numbers ({listed(map('/'.join, nested), 2)})"
    return None


def _nested(class_of: Mapping[Parts, str]) -> list[str]:
    merged = len(class_of) - len(set(class_of.values()))
    if merged:
        return [f"folders below those at the top read as parts of a class ({len(class_of)} folders)"]
    return (
        ["folders above the classes read as their taxonomy"] if any("/" in class_id for class_id in class_of.values()) else []
    )


def _empty(root: Path, folders: Mapping[Parts, Sequence[Member]]) -> list[str]:
    """Folders at the top without an image."""
    if not root.is_dir():
        return []
    filled = {images[0].name.partition("/")[0] for images in folders.values()}
    with os_errors_named("cannot read"):
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    empty = [name for name in names if name not in filled]
    return [f"folders without an image ({listed(empty)})"] if empty else []
