"""Entries of the cache and files of the user on their way to another machine, and images that are read from its cache.

An entry's place names its content: a machine that has the entry needs no parcel.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import cache_root, make_folder, os_errors_named, sha256_of, stamp, temporary_path

Parcel = Mapping[str, np.ndarray]  # the bytes of each file of an entry, uint8 [size], by name


def entry_of(array: object) -> str | None:
    """The entry that holds a memory-mapped array, as its path in the cache; None where the array lies elsewhere."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return None
    folder, root = Path(array.filename).resolve().parent, cache_root().resolve()
    return folder.relative_to(root).as_posix() if folder.is_relative_to(root) else None


def is_here(entry: str) -> bool:
    """Whether this machine's cache has an entry; it appears there whole."""
    return (cache_root() / entry).is_dir()


def pack(place: Path) -> Parcel:
    """A file, or the files of an entry's folder, mapped into memory.

    Raises:
        UserError: they cannot be read.
    """
    with os_errors_named(f"cannot read {place}"):
        files = sorted(path for path in place.iterdir() if path.is_file()) if place.is_dir() else [place]
        return {path.name: _bytes_of(path) for path in files}


def _bytes_of(path: Path) -> np.ndarray:
    return np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.empty(0, np.uint8)


def unpack(entry: str, parcel: Parcel) -> None:
    """Put an entry into this machine's cache; another process may do so at the same time.

    Raises:
        UserError: the cache cannot be written, or the disk is full.
    """
    if is_here(entry):
        return
    folder = cache_root() / entry
    with os_errors_named(f"cannot write {folder}"):
        temporary = temporary_path(make_folder(folder.parent))
        temporary.mkdir()
        try:
            for name, content in parcel.items():
                (temporary / name).write_bytes(content.data)
            temporary.rename(folder)
        except OSError:
            if not is_here(entry):  # else another process was first
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class Stored:
    """Images of an entry, opened in the cache of the machine that reads them.

    Attributes:
        entry: its path in the cache.
        file: in the entry.
        shape: (n, H, W, C).
    """

    entry: str
    file: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, images: Any) -> Any:
        """Images that can travel: these without their content where they are in the cache, else as they are."""
        entry = entry_of(images)
        return images if entry is None else cls(entry, Path(images.filename).name, images.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all images take."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any, /) -> Any:
        """Images by row number, slice or array of row numbers."""
        return self._array[rows]

    @cached_property
    def _array(self) -> np.ndarray:
        with os_errors_named("cannot open"):
            return np.load(cache_root() / self.entry / self.file, mmap_mode="r", allow_pickle=False)


@dataclass(frozen=True)
class UserFile:
    """A file that the user named and that workers read: at its path where it is the same there, else a copy in their cache.

    Attributes:
        path: on the command's machine, absolute.
        sha256: of its bytes.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> UserFile:
        """The file at a path.

        Raises:
            UserError: it cannot be read.
        """
        with os_errors_named(f"cannot read {path}"):
            return cls(path.resolve(), _sha256_of(path, *stamp(path)))

    @property
    def entry(self) -> str:
        """The place of copies in the cache."""
        return f"sent/{self.sha256}/{self.path.name}"

    def here(self) -> Path | None:
        """Where this machine has it; None: it has to be sent."""
        with suppress(OSError):  # of which most say that there is no such file
            if _sha256_of(self.path, *stamp(self.path)) == self.sha256:
                return self.path
        return cache_root() / self.entry / self.path.name if is_here(self.entry) else None


@cache
def _sha256_of(path: Path, size: int, modified: int) -> str:
    """The hash of a file, which is read again where its size or its time is another."""
    return sha256_of(path)
