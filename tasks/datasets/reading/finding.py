"""Finding the pictures among a user's files: by suffix where that says it, else by content. What is no picture is counted."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from .holders import Holder, Member, Read
from .image_files import formats, is_image

START = 16  # bytes by which PIL tells most formats apart


@dataclass(frozen=True)
class Found:
    """The files of a folder or an archive.

    Attributes:
        images: those that are pictures.
        others: how many others there are, by suffix (".txt"), or by whole name where a name has none.
    """

    images: Sequence[Member]
    others: Counter[str]


def find_images(holder: Holder) -> Found:
    """Look through a folder or an archive.

    Raises:
        UserError: it cannot be read, or something in it is no regular file.
    """
    members = holder.members(lambda name: True)
    unclear = sorted((member for member in members if not is_image(member.name)), key=lambda member: member.place)
    with holder.opened() as read:
        images = {member.name for member in unclear if _is_image_inside(read, member)}
    others = Counter(
        PurePosixPath(member.name).suffix.lower() or member.file_name for member in unclear if member.name not in images
    )
    return Found([member for member in members if is_image(member.name) or member.name in images], others)


def _is_image_inside(read: Read, member: Member) -> bool:
    """Whether the content of a file begins as a picture does; only then the whole is read."""
    try:
        start = bytes(read(member, START))
        accepts = [Image.OPEN[name][1] for name in formats()]
        if not any(accept is not None and accept(start) is True for accept in accepts):
            return False
        Image.open(io.BytesIO(bytes(read(member))), formats=formats()).close()
        return True
    except Exception:  # over foreign bytes PIL, zipfile and tarfile raise more kinds than one would list
        return False
