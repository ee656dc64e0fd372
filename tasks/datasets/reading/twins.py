"""Finding identical images in a prepared split, which make two classes alike or a query known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ....core.errors import listed


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
