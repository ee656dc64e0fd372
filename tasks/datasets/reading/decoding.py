"""Decoding many images at once: they are read in the cheapest order, decoded on all cores, and yielded in a fixed order.

Only the images being decoded and those waiting for a core are in memory. PIL decodes and resizes without holding the
interpreter's lock, so that threads are enough.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ....core.errors import UserError
from .holders import Holder, Member, Read
from .image_files import Square, UnreadableImage, decode

CHUNK = 32  # images for a thread at a time
SHOWN, TOO_MANY = 3, 100  # number of unreadable images that a message names, and that end the attempt


@dataclass(frozen=True)
class _Chunk:
    """Decoded images [len(rows), size, size, 3], and a message for each image that could not be decoded."""

    images: np.ndarray
    problems: list[str]


def decoded(members: Sequence[Member], square: Square, done: int = 0) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Decode all images.

    Args:
        members: the image of each row.
        square: how they become square.
        done: number of rows to skip, in the order in which this function yields them.

    Yields:
        Row numbers, int64 [k], and their images, uint8 [k, size, size, 3]. The order depends only on `members`.

    Raises:
        UserError: images cannot be read. The error comes after the other images were yielded, and counts all unreadable ones.
    """
    holders = list(dict.fromkeys(member.holder for member in members))
    rank = {holder: number for number, holder in enumerate(holders)}
    places = [(rank[member.holder], member.place) for member in members]
    order = np.array(sorted(range(len(members)), key=places.__getitem__), dtype=np.int64)
    problems: list[str] = []
    # The pool ends before the files are closed, and warnings return when no thread works any more.
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a photograph may have 108 million pixels
        readers = {holder: stack.enter_context(holder.opened()) for holder in holders}
        for rows, chunk in _in_parallel(members, order[done:], readers, square):
            problems += chunk.problems
            yield rows, chunk.images
            if len(problems) >= TOO_MANY:
                break
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise UserError(f"cannot read {', '.join(problems[:SHOWN])}{more}")


def thread_count() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_parallel(
    members: Sequence[Member], order: np.ndarray, readers: dict[Holder, Read], square: Square
) -> Iterator[tuple[np.ndarray, _Chunk]]:
    threads = thread_count()
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[np.ndarray, Future[_Chunk]]] = deque()
    try:
        for start in range(0, len(order), CHUNK):
            rows = order[start : start + CHUNK]
            work = [(members[row], _content(members[row], readers)) for row in rows]
            waiting.append((rows, pool.submit(_decode, work, readers, square)))
            if len(waiting) > 2 * threads:
                rows, future = waiting.popleft()
                yield rows, future.result()
        while waiting:
            rows, future = waiting.popleft()
            yield rows, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _content(member: Member, readers: dict[Holder, Read]) -> bytes | np.ndarray | Exception | None:
    """The content of a member that must be read in order; None for others, which the decoding thread reads."""
    if not member.holder.in_order:
        return None
    try:
        return readers[member.holder](member)
    except Exception as error:  # `_decode` reports it with the name of the file
        return error


def _decode(
    work: list[tuple[Member, bytes | np.ndarray | Exception | None]], readers: dict[Holder, Read], square: Square
) -> _Chunk:
    images = np.zeros((len(work), square.size, square.size, 3), dtype=np.uint8)
    problems = []
    for image, (member, content) in zip(images, work, strict=True):
        try:
            if isinstance(content, Exception):
                raise content
            image[:] = decode(readers[member.holder](member) if content is None else content, square)
        except UnreadableImage as error:
            problems.append(f"{member} ({error})")
        except Exception as error:  # for damaged archives zipfile and tarfile raise many kinds of errors
            reason = isinstance(error, OSError) and error.strerror
            problems.append(f"{member} ({reason or 'the archive is damaged or encrypted here'})")
    return _Chunk(images, problems)
