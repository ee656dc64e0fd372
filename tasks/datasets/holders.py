"""What holds the files of a source: a folder, a zip file or a tar file, also a tar file of tar files as ImageNet comes in.

Archives are read in memory and never extracted; one with a member whose path would climb out of a folder is refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import os
import re
import tarfile
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from ..errors import UserError
from ..files import os_errors_named

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# What reading a damaged, encrypted or unknown archive raises.
DAMAGE = (OSError, EOFError, RuntimeError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
Keep = Callable[[str], bool]
Read = Callable[["Member"], bytes | np.ndarray]


@dataclass(frozen=True, slots=True)
class Member:
    """One file, or one image, of a holder.

    Attributes:
        holder: what reads it.
        name: path inside the holder, with `/` between the parts.
        place: where it is, a number that rises in the order in which reading is cheapest.
        size: bytes, where the place alone does not say.
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
        """The file name without folders and last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> str:
        """The name of the folder that it is in, or ""."""
        return PurePosixPath(self.name).parent.name

    def __str__(self) -> str:
        """How a message names it."""
        return self.holder.label(self)


class Holder(ABC):
    """Something that files or images can be read from.

    Attributes:
        path: a folder or file of the user's.
    """

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.path = path

    @property
    def in_order(self) -> bool:
        """Whether only reading by rising place is cheap, one member at a time, as in a compressed tar file."""
        return False

    def label(self, member: Member) -> str:
        """How a message names a member."""
        return f"{self.path}: {member.name}"

    @abstractmethod
    def members(self, keep: Keep) -> list[Member]:
        """The files whose name `keep` accepts, in a fixed order.

        Raises:
            UserError: it cannot be read, or a member's path climbs out of the archive.
        """

    @abstractmethod
    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Open it for the block and yield a function that reads a member, from several threads where not `in_order`."""

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """A large member as bytes: something that holds them, where they begin in it, and where they end."""
        with self.opened() as read:
            content = read(member)
        return bytes(content), 0, len(content)


class FolderFiles(Holder):
    """The files of a folder and of the folders in it; hidden ones are left out."""

    def label(self, member: Member) -> str:
        """The path of the file."""
        return str(self.path / member.name)

    def members(self, keep: Keep) -> list[Member]:
        """The files whose path below the folder `keep` accepts, folder by folder."""
        found = []
        with os_errors_named("cannot read"):
            for folder, names in self._walk():
                prefix = "" if folder == self.path else f"{folder.relative_to(self.path).as_posix()}/"
                found += [Member(self, prefix + name) for name in names if keep(prefix + name)]
        return found

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        def stop(error: OSError) -> None:
            raise error

        seen = set()  # links to folders are followed, in a circle only once
        for folder, below, names in os.walk(self.path, onerror=stop, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below[:] = sorted(name for name in below if not _is_hidden(name))
            yield Path(folder), sorted(name for name in names if not _is_hidden(name))

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a file."""
        yield lambda member: (self.path / member.name).read_bytes()

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """The file, mapped into memory."""
        return _mapped(self.path / member.name, 0, None)


class ZipFiles(Holder):
    """The members of a zip file."""

    def members(self, keep: Keep) -> list[Member]:
        """The members whose path `keep` accepts, in the order of the archive."""
        with _sound(self.path), zipfile.ZipFile(self.path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        _refuse_climbing(self.path, [info.filename for info in infos])
        return [
            Member(self, info.filename, info.header_offset)
            for info in infos
            if not _is_hidden(info.filename) and keep(info.filename)
        ]

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a member."""
        with _sound(self.path):
            archive = zipfile.ZipFile(self.path)
        with archive:
            yield lambda member: archive.read(member.name)


class TarFiles(Holder):
    """The members of a tar file, and of the tar files in it, whose members then stand below the inner file's stem."""

    @property
    def in_order(self) -> bool:
        """Whether it is compressed."""
        return self._open is not Path.open

    @cached_property
    def _open(self) -> Callable[..., IO[bytes]]:
        with _sound(self.path), self.path.open("rb") as file:
            start = file.read(6)
        return next((opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)), Path.open)

    def members(self, keep: Keep) -> list[Member]:
        """The members that `keep` accepts; an inner tar file is looked into when `keep` accepts its name."""
        with _sound(self.path), self._open(self.path, "rb") as file:
            found = list(self._scan(file, 0, "", keep))
        _refuse_climbing(self.path, [member.name for member in found])
        return [member for member in found if not _is_hidden(member.name) and not member.name.endswith(".tar")]

    def _scan(self, file: IO[bytes], start: int, prefix: str, keep: Keep) -> Iterator[Member]:
        """Every regular member from byte `start` on that is wanted or climbs, with its place in the outer file."""
        file.seek(start)
        inner = []
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                name = prefix + info.name.removeprefix("./")
                if not info.isreg() or info.issparse() or not (_climbs(info.name) or keep(name)):
                    continue
                yield Member(self, name, info.offset_data, info.size)
                if name.endswith(".tar") and not prefix and not self.in_order:
                    inner.append((info.offset_data, f"{PurePosixPath(name).stem}/"))
        for offset, stem in inner:
            yield from self._scan(file, offset, stem, keep)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a member."""
        lock = threading.Lock()
        with _sound(self.path):
            file = self._open(self.path, "rb")
        with file:

            def read(member: Member) -> bytes:
                with lock:
                    file.seek(member.place)
                    return file.read(member.size)

            yield read

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """The member, mapped into memory where the file is not compressed."""
        return super().buffer(member) if self.in_order else _mapped(self.path, member.place, member.size)


_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def is_archive(path: Path) -> bool:
    """Whether a file name has the suffix of a zip or tar file."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


def archive(path: Path) -> Holder:
    """The holder of a zip or tar file, by its suffix."""
    return ZipFiles(path) if path.name.lower().endswith(".zip") else TarFiles(path)


def find_holders(source: Path) -> list[Holder]:
    """What a source given by the user consists of.

    Args:
        source: an existing archive; or a folder, to which the archives directly in it belong; or another file, which stands
            for its folder.

    Raises:
        UserError: the folder cannot be read.
    """
    if source.is_file() and is_archive(source):
        return [archive(source)]
    folder = source if source.is_dir() else source.parent
    with os_errors_named("cannot read"):
        archives = [path for path in sorted(folder.iterdir()) if is_archive(path) and not _is_hidden(path.name)]
    return [FolderFiles(folder), *(archive(path) for path in archives if path.is_file())]


def _mapped(path: Path, start: int, size: int | None) -> tuple[bytes | mmap.mmap, int, int]:
    with os_errors_named("cannot read"), path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if length == 0:
            return b"", 0, 0
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return whole, start, length if size is None else start + size


def _is_hidden(name: str) -> bool:
    """Whether a part of a path is hidden, or left by macOS in an archive."""
    return any(part.startswith((".", "__MACOSX")) for part in name.removeprefix("./").split("/"))


def _climbs(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or re.fullmatch(r"[A-Za-z]:", parts[0]) is not None


def _refuse_climbing(path: Path, names: list[str]) -> None:
    for name in names:
        if _climbs(name):
            raise UserError(f"{path}: its member {name!r} climbs out of the archive; it is not read, get another copy")


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is damaged, encrypted or of another format"
        raise UserError(f"cannot read {path}: {reason}") from error
