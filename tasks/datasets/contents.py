"""What a dataset says of a split before its images are read (`Contents`), and the checks of what a plug-in gives."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.options import shown
from ...core.progress import Progress
from ...core.ranges import LARGEST_COUNT, LARGEST_SIZE
from ...core.unfinished import Block, Reached


@dataclass(frozen=True)
class Contents:
    """The contents of a split, described before its images are read. `fill` or `stream` gives the images.

    Attributes:
        class_ids: one identifier for each class.
        class_names: one readable name for each class.
        counts: number of images of each class.
        shape: (H, W, C).
        fill: writes every image into a uint8 array [sum(counts), H, W, C], rows class by class, and reports progress.
        sources: one name for each row (a file, or a description of a rendered image), or empty.
        stream: yields row numbers [k] and their images, uint8 [k, H, W, C], in an order that is always the same. Its argument
            is the number of rows, in that order, that an interrupted attempt has written. For long work, which can be resumed.
        origin: origin of the images, for the manifest; empty means the given source, or else the dataset's homepage.
    """

    class_ids: Sequence[str]
    class_names: Sequence[str]
    counts: Sequence[int]
    shape: tuple[int, int, int]
    fill: Callable[[np.ndarray, Progress], None] | None = None
    sources: Sequence[str] = ()
    stream: Callable[[int], Generator[tuple[np.ndarray, np.ndarray], None, None]] | None = None
    origin: str = ""

    @property
    def array_shape(self) -> tuple[int, ...]:
        """[n, H, W, C] of all images."""
        return (int(sum(self.counts)), *self.shape)


def checked(contents: object, owner: str) -> Contents:
    """Check the contents that a dataset gives, and return them.

    Args:
        contents: of `Dataset.contents`.
        owner: whose they are, for the message ("dataset Shapes, test").

    Raises:
        UserError: they are none, or they contradict themselves; the message says what was given and what is expected.
    """

    def refuse(what: str, expected: str) -> UserError:
        return UserError(f"{owner}: contents gives {what}; expected {expected}")

    if not isinstance(contents, Contents):
        raise refuse(_told(contents), "Contents(class_ids, class_names, counts, shape, fill or stream)")
    for name in ("class_ids", "class_names", "sources"):
        texts = getattr(contents, name)
        if not _listed(texts) or not all(isinstance(text, str) for text in texts):
            raise refuse(f"{name} = {_told(texts)}", "a list of texts")
    counts, shape, classes = contents.counts, contents.shape, len(contents.class_ids)
    if not _listed(counts) or not all(_whole(count, 0, LARGEST_COUNT) for count in counts):
        raise refuse(f"counts = {_told(counts)}", "the number of images of each class")
    if not classes or not classes == len(contents.class_names) == len(counts):
        lengths = f"{classes} class_ids, {len(contents.class_names)} class_names and {len(counts)} counts"
        raise refuse(lengths, "as many of each, at least one")
    if len(set(contents.class_ids)) < classes:
        raise refuse("class_ids that name a class twice", "one identifier for each class")
    sides = _listed(shape) and len(shape) == 3 and all(_whole(side, 1, LARGEST_SIZE) for side in shape)
    if not sides or shape[2] not in (1, 3):
        raise refuse(f"shape = {_told(shape)}", f"(height, width, 1 or 3), sides of 1 to {LARGEST_SIZE:,} pixels")
    images = contents.array_shape[0]
    if not images or len(contents.sources) not in (0, images):
        raise refuse(f"{len(contents.sources)} sources for {images} images", "one for each image or none, and an image")
    if not callable(contents.fill if contents.stream is None else contents.stream):
        raise refuse("neither fill nor stream", "a function")
    return contents


def streamed(contents: Contents, reached: Reached, owner: str) -> Generator[Block, None, None]:
    """The images that `contents.stream` yields, each piece checked.

    Args:
        contents: of a split, with a stream.
        reached: what an earlier attempt has written.
        owner: as in `checked`.

    Raises:
        UserError: a piece is no pair of row numbers and images, or there are other rows than `contents` says.
    """
    assert contents.stream is not None
    shape, done = contents.array_shape, reached.done
    seen = np.zeros(shape[0], dtype=bool)
    pieces: Any = contents.stream(reached.done)
    if not hasattr(pieces, "__iter__"):
        raise UserError(f"{owner}: stream returned {_told(pieces)}; expected a generator of row numbers and images")
    try:
        for piece in pieces:
            if fault := _fault(piece, shape):
                form = ", ".join(map(str, shape[1:]))
                raise UserError(f"{owner}: stream yields {fault}; expected (rows [k], images uint8 [k, {form}])")
            rows, images = piece
            if len(rows) and not 0 <= rows.min() <= rows.max() < shape[0]:
                raise UserError(f"{owner}: stream yields rows {rows.min()} to {rows.max()}; there are {shape[0]} images")
            if seen[rows].any() or len(np.unique(rows)) < len(rows):
                raise UserError(f"{owner}: stream yields an image twice, in rows {rows.min()} to {rows.max()}")
            seen[rows] = True
            done += len(rows)
            if len(rows):
                yield Block(rows, images)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    if done != shape[0]:
        raise UserError(f"{owner}: stream yields {done} images; contents says {shape[0]}")


def _fault(piece: object, shape: tuple[int, ...]) -> str:
    """Why a piece of a stream is none, in words; "" where it is one."""
    if not isinstance(piece, tuple | list) or len(piece) != 2:
        return _told(piece)
    rows, images = piece
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype.kind not in "iu":
        return f"rows = {_told(rows)}"
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != (len(rows), *shape[1:]):
        return f"images = {_told(images)}"
    return ""


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= int(value) <= most


def _listed(value: object) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _told(value: object) -> str:
    """What a plug-in gave, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} {list(value.shape)}"
    if isinstance(value, tuple | list) and any(isinstance(one, np.ndarray) for one in value):
        return f"a {type(value).__name__} of {len(value)}: {', '.join(map(_told, value[:3]))}"
    return shown(value) if value is None or isinstance(value, int | float | str | tuple | list) else type(value).__name__
