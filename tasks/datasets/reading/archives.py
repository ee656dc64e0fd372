"""Zip and tar files as sources, also a tar file of tar files such as ImageNet's.

Archives are read in memory and never extracted. An archive that was cut, lists a member twice, or has a member whose path leads
out of the archive is an error.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import posixpath
import re
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Self

from ....core.errors import UserError
from ....core.files import os_errors_named, regular_file
from .holders import FolderFiles, Holder, Keep, Member, Read, is_hidden, mapped

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Errors that a damaged, encrypted or unknown archive raises.
DAMAGE = (OSError, EOFError, RuntimeError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class ZipFiles(Holder):
    """The members of a zip file."""

    def members(self, keep: Keep) -> list[Member]:
        """The members whose path `keep` accepts, in the order of the archive."""
        with _sound(self.path), _open_zip(regular_file(self.path)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        _check_names(self.path, [info.filename for info in infos])
        return [
            Member(self, info.filename, info.header_offset)
            for info in infos
            if not is_hidden(info.filename) and keep(info.filename)
        ]

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a member."""
        with _sound(self.path):
            archive = _open_zip(regular_file(self.path))

        def read(member: Member, most: int = -1) -> bytes:
            with archive.open(member.name) as file:
                return file.read(most)

        with archive:
            yield read


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file. macOS and Info-ZIP write names in UTF-8 without the flag that says so."""
    try:
        return zipfile.ZipFile(path, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(path)


class TarFiles(Holder):
    """The members of a tar file and of the tar files in it. The path of an inner member begins with the inner file's stem."""

    @property
    def in_order(self) -> bool:
        """True for a compressed file."""
        return self._open is not Path.open

    @cached_property
    def _open(self) -> Callable[..., IO[bytes]]:
        with _sound(self.path), regular_file(self.path).open("rb") as file:
            start = file.read(6)
        return next((opener for magic, opener in _COMPRESSIONS.items() if start.startswith(magic)), Path.open)

    def members(self, keep: Keep) -> list[Member]:
        """The members that `keep` accepts, and those of inner tar files whose name `keep` accepts."""
        with _sound(self.path), self._open(self.path, "rb") as file:
            found = list(self._scan(file, 0, None, "", keep))
        _check_names(self.path, [member.name for member in found])
        return [member for member in found if not is_hidden(member.name) and not member.name.endswith(".tar")]

    def _scan(self, file: IO[bytes], start: int, stop: int | None, prefix: str, keep: Keep) -> Iterator[Member]:
        """Yield wanted files from byte `start` to `stop` with their place in the outer file, and files that climb out.

        A link stands for its target, which must be in the archive, too.
        """
        file.seek(start)
        inner: list[Member] = []
        files: dict[str, tuple[int, int]] = {}  # possible targets of links: place and size by name
        links: list[tuple[str, str]] = []
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
            for info in archive:
                if stop is not None and info.offset_data + (info.size if info.isreg() else 0) > stop:
                    raise tarfile.ReadError("an inner archive goes on beyond its end")
                name = prefix + info.name.removeprefix("./")
                if info.isreg() and not info.issparse():
                    files[name] = info.offset_data, info.size
                if info.isdir() or not (_climbs(info.name) or keep(name)):
                    continue
                if info.issym() or info.islnk():
                    beside = posixpath.dirname(info.name) if info.issym() else ""
                    links.append((name, prefix + posixpath.normpath(posixpath.join(beside, info.linkname))))
                    continue
                if name not in files:
                    raise UserError(f"{self.path}: its member {name!r} is a pipe, a device or a sparse file, which is not read")
                member = Member(self, name, *files[name])
                yield member
                if name.endswith(".tar") and not prefix and not self.in_order:
                    inner.append(member)
        for name, target in links:
            if target not in files:
                raise UserError(f"{self.path}: its member {name!r} is a link to {target!r}, which is not a file of the archive")
            yield Member(self, name, *files[target])
        for member in inner:
            yield from self._scan(file, member.place, member.place + member.size, f"{member.stem}/", keep)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield a function that reads a member."""
        lock = threading.Lock()
        with _sound(self.path):
            file = self._open(self.path, "rb")
        with file:

            def read(member: Member, most: int = -1) -> bytes:
                with lock:
                    file.seek(member.place)
                    return file.read(member.size if most < 0 else min(most, member.size))

            yield read

    def buffer(self, member: Member) -> tuple[bytes | mmap.mmap, int, int]:
        """The member as bytes; mapped into memory unless the file is compressed."""
        return super().buffer(member) if self.in_order else mapped(self.path, member.place, member.size)


class _Header(tarfile.TarInfo):
    """A header of a tar file. At a cut or damaged header `tarfile` would believe that the file ends there."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header; only a block of zeros counts as the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):
                raise
            raise tarfile.ReadError("it was cut") from error


_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def is_archive(path: Path) -> bool:
    """Whether a file name has the suffix of a zip or tar file."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


def archive(path: Path) -> Holder:
    """Make the holder of a zip or tar file, by the file's suffix."""
    return ZipFiles(path) if path.name.lower().endswith(".zip") else TarFiles(path)


def find_holders(source: Path) -> list[Holder]:
    """The holders of a user's source.

    Args:
        source: an existing archive; or a folder, together with the archives directly in it; or another file, which stands for
            its folder.

    Raises:
        UserError: the folder cannot be read.
    """
    if source.is_file() and is_archive(source):
        return [archive(source)]
    folder = source if source.is_dir() else source.parent
    with os_errors_named("cannot read"):
        archives = [path for path in sorted(folder.iterdir()) if is_archive(path) and not is_hidden(path.name)]
    return [FolderFiles(folder), *(archive(path) for path in archives if path.is_file())]


def _climbs(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or re.fullmatch(r"[A-Za-z]:", parts[0]) is not None


def _check_names(path: Path, names: list[str]) -> None:
    """Raise a `UserError` where a member is listed twice or its path climbs out of the archive."""
    seen = set()
    for name in names:
        if _climbs(name):
            raise UserError(f"{path}: its member {name!r} climbs out of the archive; it is not read, get another copy")
        if name in seen:
            raise UserError(f"{path}: it is damaged, its member {name!r} is listed twice; get another copy")
        seen.add(name)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is damaged, encrypted or of another format"
        raise UserError(f"cannot read {path}: {reason}") from error
