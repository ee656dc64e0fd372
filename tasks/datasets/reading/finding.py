"""Finding the images among a user's files, by suffix or else by content. Other files are counted."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from .holders import Holder, Member, Read
from .image_files import formats, is_image

START = 16  # bytes that are enough for PIL to tell most formats apart


@dataclass(frozen=True)
class Found:
    """The files of a folder or an archive.

    Attributes:
        images: the images.
        others: number of other files, by suffix (".txt"), or by name where a name has no suffix.
    """

    images: Sequence[Member]
    others: Counter[str]


def find_images(holder: Holder) -> Found:
    """Search a folder or an archive.

    Raises:
        UserError: the folder or archive cannot be read, or contains something that is not a regular file.
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
    """Whether the content of a file is an image. The whole file is read only if it begins like one."""
    try:
        start = bytes(read(member, START))
        accepts = [Image.OPEN[name][1] for name in formats()]
        if not any(accept is not None and accept(start) is True for accept in accepts):
            return False
        Image.open(io.BytesIO(bytes(read(member))), formats=formats()).close()
        return True
    except Exception:  # for other content PIL, zipfile and tarfile raise many kinds of errors
        return False
