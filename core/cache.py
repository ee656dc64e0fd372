"""The cache: folders that take a while to make. One process makes a folder, it appears whole, and every opening checks it.

An entry is a folder with files and `manifest.json`. The manifest describes the content (a dataclass of the module that made
it) and holds size, time and SHA-256 of each file. Opening compares sizes and times; a file is hashed only where its time
differs. An entry in the making lies in a hidden folder next to it (`unfinished`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from filelock import FileLock, Timeout

from .decoding import Undecodable, decode
from .errors import UserError
from .files import (
    cache_root,
    make_folder,
    os_errors_named,
    regular_file,
    remove_folder,
    sha256_of,
    stamp,
    sweep,
    temporary_path,
    write_atomically,
)
from .progress import Progress
from .unfinished import JOURNAL, Unfinished

Key = Mapping[str, object]  # everything that an entry depends on; it is hashed and kept, and nobody looks into it
MANIFEST = "manifest.json"
LONGEST = 180  # characters of a lock's name; a longer name is cut and ends in a hash

About = TypeVar("About")


def digest_of(key: Key) -> str:
    """Hexadecimal SHA-256 of a key."""
    return sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


class Damaged(UserError):
    """A file of an entry has changed since it was made."""


class FileState(NamedTuple):
    """Size of a file in bytes, its time of modification in nanoseconds, and its hexadecimal SHA-256."""

    size: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Kept(Generic[About]):
    """A whole entry.

    Attributes:
        folder: the folder with its files.
        about: the description of its content.
        files: size, time and hash of each file, by name.
    """

    folder: Path
    about: About
    files: dict[str, FileState]

    def array(self, name: str) -> np.ndarray:
        """Open an .npy file of the entry, memory-mapped and read-only."""
        with os_errors_named("cannot open"):
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)

    def __getstate__(self) -> dict[str, object]:
        """What travels to another process: an entry is opened in the cache of the machine that it comes to."""
        root = cache_root()
        return {**vars(self), "folder": self.folder.relative_to(root) if self.folder.is_relative_to(root) else self.folder}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        vars(self).update(state, folder=cache_root() / str(state["folder"]))

    def write_manifest(self) -> None:
        """Write `manifest.json` into the entry's folder."""
        content = {"about": asdict(self.about), "files": self.files}  # type: ignore[call-overload]
        write_atomically(self.folder / MANIFEST, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def kept_names(folder: str) -> list[str]:
    """The names of the entries in a folder of the cache, sorted, without looking into them."""
    return sorted(path.parent.name for path in (cache_root() / folder).glob(f"[!.]*/{MANIFEST}"))


@dataclass(frozen=True)
class Entry(Generic[About]):
    """A place in the cache.

    Attributes:
        folder: the entry's folder, below the cache folder.
        kind: the dataclass that describes the content.
    """

    folder: Path
    kind: type[About]

    @property
    def unfinished(self) -> Path:
        """The folder of an attempt that can be continued."""
        return self.folder.parent / f".{self.folder.name}.unfinished"

    def find(self, thorough: bool = False) -> Kept[About] | None:
        """Open the entry; None where there is none.

        Args:
            thorough: hash every file, also where size and time are unchanged.

        Raises:
            Damaged: a file or the manifest has changed since it was made, or another version of this package made it.
        """
        for folder in (self.folder.parent, self.folder):
            sweep(folder)
        if not self.folder.is_dir():
            return None
        try:
            content = json.loads(regular_file(self.folder / MANIFEST).read_bytes())
            about = decode(self.kind, content["about"])
            files = {name: FileState(*then) for name, then in content["files"].items()}
            now = {name: _state(self.folder / name, then.sha256) for name, then in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged("the folder is damaged, or of another version of fewbench") from error
        for name, then in files.items():
            touched = thorough or now[name] != then
            if now[name].size != then.size or (touched and sha256_of(self.folder / name) != then.sha256):
                raise Damaged(f"{name} is damaged")
        found = Kept(self.folder, about, now)
        if now != files:  # copied or touched, but sound: the new times make the next opening quick again
            with suppress(UserError):  # reading works without writing
                found.write_manifest()
        return found

    def sound(self) -> Kept[About] | None:
        """Open the entry; None where it is absent or damaged."""
        try:
            return self.find()
        except Damaged:
            return None

    def find_or_make(self, fill: Callable[[Unfinished], About], progress: Progress, what: str, plan: str = "") -> Kept[About]:
        """Open the entry, or make it where it is absent or damaged (`make`). A second process waits for the first."""
        found = self.sound()
        if found is None:
            with self.alone(progress, what):
                found = self.sound() or self.make(fill, plan)  # another process may have made it in the meantime
        return found

    @contextmanager
    def alone(self, progress: Progress, what: str) -> Iterator[None]:
        """Hold the lock with which one process at a time makes the entry.

        Args:
            progress: tells the user when this process waits for another one.
            what: name of the work in that message.

        Raises:
            UserError: the cache folder cannot be written.
        """
        name = "-".join(self.folder.relative_to(cache_root()).parts)
        if len(name) > LONGEST:
            name = f"{name[:LONGEST]}-{sha256(name.encode()).hexdigest()[:12]}"
        path = make_folder(cache_root() / "locks") / f"{name}.lock"
        lock = FileLock(path)
        with os_errors_named(f"cannot lock {path}"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress.say(f"{what}: another process is at it; waiting")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def make(self, fill: Callable[[Unfinished], About], plan: str = "") -> Kept[About]:
        """Make the entry and put it in the place of an older one. One process at a time may call this (`alone`).

        Args:
            fill: writes the files into a folder that is empty or holds the files of an interrupted attempt, and returns the
                description of the content.
            plan: a hash of everything that determines the content. The next attempt with the same plan continues an
                interrupted one; without a plan, an interrupted attempt is removed.

        Raises:
            UserError: the entry cannot be written, or the disk is full. The older entry stays.
        """
        with os_errors_named(f"cannot write {self.folder}"):
            parent = make_folder(self.folder.parent)
            unfinished = Unfinished(self.unfinished if plan else temporary_path(parent), plan)
            try:
                unfinished.begin()
                about = fill(unfinished)
                self._check_readable(about)
                names = sorted(path.name for path in unfinished.folder.iterdir() if path.name not in (MANIFEST, JOURNAL))
                states = {name: _state(unfinished.folder / name, unfinished.sha256_of(name)) for name in names}
                Kept(unfinished.folder, about, states).write_manifest()
                (unfinished.folder / JOURNAL).unlink(missing_ok=True)
                remove_folder(self.folder)
                unfinished.folder.rename(self.folder)
            except BaseException as error:
                if isinstance(error, Exception) or not plan:
                    shutil.rmtree(unfinished.folder, ignore_errors=True)
                raise
        return Kept(self.folder, about, states)

    def _check_readable(self, about: About) -> None:
        """Raise a `UserError` where the next reader could not decode the description."""
        try:
            decode(self.kind, json.loads(json.dumps(asdict(about))))  # type: ignore[call-overload]
        except Undecodable as error:
            raise UserError(f"cannot write {self.folder}: {error}") from error


def _state(path: Path, digest: str) -> FileState:
    size, modified = stamp(regular_file(path))
    return FileState(size, modified, digest)
