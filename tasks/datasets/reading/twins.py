"""Copies of an image, which make a query known or two classes alike: identical files are left out, identical pictures named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ....core.errors import listed
from .holders import Member, Read


def without_copies(classes: Mapping[str, Sequence[Member]]) -> tuple[dict[str, list[Member]], list[str]]:
    """The images without copies: one of identical files in a class, and none of those in several classes.

    Args:
        classes: the images of each class.

    Returns:
        The images of each class that stay, and messages that name the others.
    """
    rows = [(class_id, member) for class_id, members in classes.items() for member in members]
    groups: dict[bytes, list[int]] = {}
    with ExitStack() as stack:
        holders = dict.fromkeys(member.holder for _, member in rows)
        readers = {holder: stack.enter_context(holder.opened()) for holder in holders}
        for row in sorted(range(len(rows)), key=lambda row: rows[row][1].place):
            groups.setdefault(_digest(rows[row][1], readers[rows[row][1].holder]), []).append(row)
    left_out, same, torn = set(), [], []
    for group in (sorted(group) for group in groups.values() if len(group) > 1):
        names = " is ".join(rows[row][1].name for row in reversed(group))
        alone = len({rows[row][0] for row in group}) == 1
        left_out.update(group[1:] if alone else group)
        (same if alone else torn).append(names)
    kept = {class_id: [] for class_id in classes}
    for row, (class_id, member) in enumerate(rows):
        if row not in left_out:
            kept[class_id].append(member)
    said = [f"copies of photos are left out: {listed(same)}"] if same else []
    return kept, [*said, *([f"photos in several classes are left out: {listed(torn)}"] if torn else [])]


def _digest(member: Member, read: Read) -> bytes:
    """A hash of the content; of the name where it cannot be read, which decoding reports."""
    try:
        content = read(member)
    except Exception:  # of damaged archives zipfile and tarfile raise many kinds
        return repr((id(member.holder), member.name)).encode()
    return hashlib.sha256(content.tobytes() if isinstance(content, np.ndarray) else content).digest()


def about_twins(images: Any, labels: np.ndarray, class_ids: tuple[str, ...]) -> list[str]:
    """Messages about identical images: of several classes, with the names of the classes, and within a class, counted.

    Args:
        images: uint8 [n, H, W, C], or an object that is read like such an array.
        labels: int64 [n], the class of each image.
        class_ids: names of the classes.
    """
    pairs: dict[tuple[str, ...], int] = {}
    within = 0
    for rows in _identical(images):
        classes = np.unique(labels[rows])
        within += len(rows) - len(classes)
        if len(classes) > 1:
            names = tuple(map(class_ids.__getitem__, map(int, classes)))
            pairs[names] = pairs.get(names, 0) + 1
    said = [f"{listed(names, 4)} hold {count} identical picture{'s' * (count > 1)}" for names, count in pairs.items()]
    return [
        *([listed(said)] if said else []),
        *(
            [f"{within} pictures occur twice within a class" if within > 1 else "a picture occurs twice within a class"]
            if within
            else []
        ),
    ]


def _identical(images: Any) -> Iterator[list[int]]:
    """Yield groups of rows with equal images. One line of pixels rules out most, so that few images are read as a whole."""
    middle = images.shape[1] // 2
    for rows in _groups(range(len(images)), lambda row: images[row, middle].tobytes()):
        yield from _groups(rows, lambda row: hashlib.sha256(images[row].tobytes()).digest())


def _groups(rows: Iterable[int], content: Callable[[int], bytes]) -> list[list[int]]:
    """The groups of more than one row with the same content."""
    by_content: dict[bytes, list[int]] = {}
    for row in rows:
        by_content.setdefault(content(row), []).append(row)
    return [group for group in by_content.values() if len(group) > 1]
