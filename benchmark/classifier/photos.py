"""Reading new photos: files, and folders with everything below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import UsageError, UserError
from ...tasks.datasets.reading.archives import is_archive
from ...tasks.datasets.reading.decoding import thread_count
from ...tasks.datasets.reading.finding import find_images
from ...tasks.datasets.reading.holders import FolderFiles, Member
from ...tasks.datasets.reading.image_files import Square, UnreadableImage, decode

BATCH = 64  # photos that are held in memory at once


@dataclass(frozen=True)
class Read:
    """A batch of photos.

    Attributes:
        names: of those that were read, as the user knows them.
        images: uint8 [b, size, size, 3].
        unreadable: what is wrong with the others, a line each.
    """

    names: list[str]
    images: np.ndarray
    unreadable: list[str]


def photos_in(paths: Sequence[Path]) -> list[Member]:
    """The photos that paths name, in the order of the paths; those of a folder by name.

    Raises:
        UsageError: a path is a web address, an archive, or not there.
        UserError: a folder cannot be read, or holds no photos.
    """
    found: list[Member] = []
    for path in paths:
        if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
            raise UsageError(f"{path}: a web address; download the photo first")
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if path.is_dir():
            inside = find_images(FolderFiles(path))
            if not inside.images:
                raise UserError(f"{path}: holds no photos")
            found += inside.images
        elif is_archive(path):
            raise UsageError(f"{path}: an archive; unpack it and name the folder")
        else:
            found.append(Member(FolderFiles(path.parent), path.name))
    return found


def read(members: Sequence[Member], square: Square) -> Iterator[Read]:
    """Read photos batch by batch, made square."""
    with ThreadPoolExecutor(thread_count()) as threads:
        for start in range(0, len(members), BATCH):
            part = members[start : start + BATCH]
            decoded = list(threads.map(lambda member: _decoded(member, square), part))
            good = [(str(member), image) for member, image in zip(part, decoded, strict=True) if not isinstance(image, str)]
            bad = [f"{member}: {why}" for member, why in zip(part, decoded, strict=True) if isinstance(why, str)]
            images = np.stack([image for _, image in good]) if good else np.empty((0, square.size, square.size, 3), np.uint8)
            yield Read([name for name, _ in good], images, bad)


def _decoded(member: Member, square: Square) -> np.ndarray | str:
    """The photo, or what is wrong with it."""
    try:
        with member.holder.opened() as opened:
            return decode(opened(member), square)
    except UnreadableImage as error:
        return str(error)
    except (OSError, UserError) as error:
        return " ".join(str(error).split())
