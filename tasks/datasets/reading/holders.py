"""Holders of the files or images of a source, as named members that can be read. Here: folders (archives: archives.py)."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ....core.files import os_errors_named, regular_file

Keep = Callable[[str], bool]
Read = Callable[..., bytes | np.ndarray]  # arguments: a member, and for files the largest number of bytes to read


@dataclass(frozen=True, slots=True)
class Member:
    """One file, or one image, of a holder.

    Attributes:
        holder: the holder that reads it.
        name: path inside the holder, with `/` between the parts.
        place: position in the holder; reading by rising place is cheapest.
        size: number of bytes, where the place alone does not determine it.
    """

    holder: Holder
    name: str
    place: int = 0
    size: int = 0

    @property
    def file_name(self) -> str:
        """The name without folders."""
        return self.name.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without folders and without the last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> str:
        """The name of the innermost folder, or ""."""
        return PurePosixPath(self.name).parent.name

    def __str__(self) -> str:
        return self.holder.label(self)


class Holder(ABC):
    """A source of files or images.

    Attributes:
        path: the user's folder or file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def in_order(self) -> bool:
        """Whether only reading by rising place is cheap, one member at a time, as in a compressed tar file."""
        return False

    def label(self, member: Member) -> str:
        """The name of a member in messages."""
        return f"{self.path}: {member.name}"

    @abstractmethod
    def members(self, keep: Keep) -> list[Member]:
        """The files whose name `keep` accepts, in a fixed order.

        Raises:
            UserError: the holder cannot be read, or a member's path climbs out of the archive.
        """

    @abstractmethod
    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Open the holder and yield a function that reads a member. Several threads may call it unless `in_order`."""

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """A large member as part of a buffer: the buffer, the first byte of the member, and one past its last byte."""
        with self.opened() as read:
            content = read(member)
        return bytes(content), 0, len(content)


class FolderFiles(Holder):
    """The files of a folder and of the folders in it, without hidden ones."""

    def label(self, member: Member) -> str:
        """The path of the file."""
        return str(self.path / member.name)

    def members(self, keep: Keep) -> list[Member]:
        """The files whose path below the folder `keep` accepts, folder by folder.

        Raises:
            UserError: such a path is a pipe, a device, or a link that is broken or circular; or a folder cannot be read.
        """
        found: list[Member] = []
        waiting, seen = [("", str(self.path))], set()  # links to folders are followed; a circle is entered only once
        with os_errors_named("cannot read"):
            while waiting:
                prefix, folder = waiting.pop()
                status = Path(folder).stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as listing:
                    entries = sorted((one for one in listing if not is_hidden(one.name)), key=lambda one: one.name)
                waiting += [(f"{prefix}{one.name}/", one.path) for one in reversed(entries) if one.is_dir()]
                for one in entries:
                    if not one.is_dir() and keep(prefix + one.name):
                        if not one.is_file():
                            regular_file(Path(one.path))
                        found.append(Member(self, prefix + one.name))
        return found

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a file."""

        def read(member: Member, most: int = -1) -> bytes:
            with regular_file(self.path / member.name).open("rb") as file:
                return file.read(most)

        yield read

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """The file as bytes, mapped into memory."""
        return mapped(self.path / member.name, 0, None)


def mapped(path: Path, start: int, size: int | None) -> tuple[bytes | mmap.mmap, int, int]:
    """Map a file into memory; return it with the first and one past the last of `size` bytes from `start` (None: the rest)."""
    with os_errors_named("cannot read"), regular_file(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length == 0:
            return b"", 0, 0
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return whole, start, length if size is None else start + size


def is_hidden(name: str) -> bool:
    """Whether a part of a path begins with a dot, or is an addition of macOS to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/"))
