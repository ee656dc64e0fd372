"""Classes from a CSV file: one row for each image, with its file, its class, and perhaps its split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from ....core.errors import UserError
from ....core.tables import csv_rows
from .folder_layout import Choices, Layout, split_meant, with_splits
from .holders import FolderFiles, Member

# Usual names of the columns, without case, spaces, dashes and underscores; the first that occurs counts.
FILE = (
    "file",
    "filename",
    "path",
    "image",
    "filepath",
    "imagepath",
    "imagefile",
    "imagename",
    "img",
    "imgpath",
    "imageid",
    "photo",
)
LABEL = ("label", "class", "category", "classname", "labelname", "target", "species", "name", "classid", "labels")
SPLIT = ("split", "set", "subset", "partition", "fold")
Columns = tuple[int, int, int | None]  # numbers of the columns with file, label and split


def layout_of_csv(path: Path, choices: Choices) -> Layout:
    """Read a CSV file. Paths in it are relative to its folder, with the separators of any system.

    Raises:
        UserError: the columns cannot be told, a row is incomplete, or an image is missing or listed twice.
    """
    owner = f"root={path}"
    header, *rows = csv_rows(path) or [[]]
    header = [name.strip() for name in header]
    if not rows:
        raise UserError(
            f"{owner}: a CSV file of images has rows under a first line with the columns file and label; it has none"
        )
    file, label, split = _columns(owner, path.parent, header, rows, choices)
    if not choices.columns and _existing(path.parent, header[file]) is not None:  # a row like the others
        rows, header = [header, *rows], [f"{number}" for number in range(1, len(header) + 1)]
    holder, found, absent = FolderFiles(path.parent), {}, []
    for row in rows:
        if len(row) != len(header) or not row[file].strip() or not row[label].strip():
            raise UserError(f"{owner}: the row '{','.join(row)}' does not have a file, a label and {len(header)} columns")
        if split is not None and choices.split_folders != "none" and split_meant(row[split]) is None:
            raise UserError(f"{owner}: '{row[split]}' in column '{header[split]}' is not a split; known: train, val, test")
        name = _existing(path.parent, row[file].strip())
        if name is None:
            absent.append(row[file])
        elif name in found:
            raise UserError(f"{owner}: the file {row[file]} is listed twice")
        else:
            found[name] = (row[label].strip(), "" if split is None else row[split].strip(), [Member(holder, name)])
    if absent:
        raise UserError(
            f"{owner}: it names {len(absent)} files that are not there, the first is {absent[0]}, below {path.parent}"
        )
    if split is None or choices.split_folders == "none":
        layout = with_splits(owner, "", ((class_id, "", images) for class_id, _, images in found.values()), "images")
        read_as = []
    else:
        layout = with_splits(owner, f"column {header[split]}:", found.values(), choices.split_folders)
        read_as = layout.read_as
    return Layout(layout.classes, layout.splits, [f"columns {header[file]} and {header[label]}", *read_as])


def _columns(owner: str, folder: Path, header: Sequence[str], rows: Sequence[Sequence[str]], choices: Choices) -> Columns:
    """Find the columns with file, label and split: the user's choice, else by their names, else by their content.

    Raises:
        UserError: a column cannot be told.
    """
    if choices.columns:
        chosen = [name.strip() for name in choices.columns.split(",")]
        if not 2 <= len(chosen) <= 3 or any(header.count(name) != 1 for name in chosen):
            raise UserError(
                f"{owner}: columns={choices.columns}: names of two or three of its columns, for file, label and split; it has "
                f"{', '.join(header)}"
            )
        file, label, *split = map(header.index, chosen)
        return file, label, split[0] if split else None
    split = _called(header, SPLIT)
    if (
        split is not None
        and header[split].lower() != "split"
        and not all(split_meant(row[split]) for row in rows if len(row) > split)
    ):
        split = None  # the column means another kind of fold or subset
    file = _called(header, FILE)
    if file is None:
        tried = [row for row in rows[:20] if len(row) == len(header)]
        full = [at for at in range(len(header)) if tried and all(_existing(folder, row[at].strip()) for row in tried)]
        file = full[0] if len(full) == 1 else None
    label = _called([name if at != file else "" for at, name in enumerate(header)], LABEL)
    if label is None and file is not None:
        others = [at for at in range(len(header)) if at not in (file, split)]
        label = others[0] if len(others) == 1 else None
    if file is None or label is None:
        raise UserError(
            f"{owner}: a CSV file of images has rows under a first line with the columns file and label; its first line is "
            f"'{','.join(header)}': --set dataset.columns=FILE,LABEL (or FILE,LABEL,SPLIT) by the names of these columns"
        )
    return file, label, split


def _called(header: Sequence[str], names: Sequence[str]) -> int | None:
    """The number of the column with the first of these names that occurs; None where none does."""
    plain = ["".join(one for one in head.lower() if one.isalnum()) for head in header]
    return next((plain.index(name) for name in names if name in plain), None)


def _existing(folder: Path, name: str) -> str | None:
    """The name as it is, or with the backslashes of Windows as separators, if such a file exists; else None."""
    for form in dict.fromkeys((name, PureWindowsPath(name).as_posix())):
        try:
            if form and (folder / form).is_file():
                return form
        except (OSError, ValueError):  # the name is too long, or contains a null
            continue
    return None
