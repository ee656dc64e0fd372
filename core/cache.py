"""The cache: folders that take a while to make, made by one process at a time, there at once or not at all, and checked.

An entry is a folder with files and `manifest.json`, which describes what they hold (a dataclass of whoever made them) and has
size, time and SHA-256 of each. Opening compares sizes and times, and a hash where a time differs, so that damage is noticed
at the cost of a hash only when something touched a file. What is in the making lies hidden beside it (`unfinished`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
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

MANIFEST = "manifest.json"
LONGEST = 180  # characters of a lock's name; a longer one is cut and told apart by a hash

About = TypeVar("About")


class Damaged(UserError):
    """An entry is not as it was made."""


class FileState(NamedTuple):
    """What is known of a file: size in bytes, time of modification in nanoseconds, hexadecimal SHA-256."""

    size: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Kept(Generic[About]):
    """An entry that is whole.

    Attributes:
        folder: where it is.
        about: what it holds.
        files: of each file by name.
    """

    folder: Path
    about: About
    files: dict[str, FileState]

    def array(self, name: str) -> np.ndarray:
        """An array of the entry, memory-mapped and read-only."""
        with os_errors_named("cannot open"):
            return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)

    def write_manifest(self) -> None:
        """Note what the entry holds beside it."""
        content = {"about": asdict(self.about), "files": self.files}  # type: ignore[call-overload]
        write_atomically(self.folder / MANIFEST, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


@dataclass(frozen=True)
class Entry(Generic[About]):
    """A place in the cache.

    Attributes:
        folder: below the cache folder.
        kind: the dataclass that describes what it holds.
    """

    folder: Path
    kind: type[About]

    @property
    def unfinished(self) -> Path:
        """Where an attempt that can be gone on with is made."""
        return self.folder.parent / f".{self.folder.name}.unfinished"

    def find(self, thorough: bool = False) -> Kept[About] | None:
        """What is there; None where nothing is.

        Args:
            thorough: hash the files even when their sizes and times are as they were.

        Raises:
            Damaged: a file or the manifest is not as it was made, or is of another version of this package.
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
        if now != files:  # copied or touched, but sound: the next opening is quick again
            with suppress(UserError):  # a cache that cannot be written is read all the same
                found.write_manifest()
        return found

    def sound(self) -> Kept[About] | None:
        """What is there and as it was made."""
        try:
            return self.find()
        except Damaged:
            return None

    def find_or_make(self, fill: Callable[[Unfinished], About], progress: Progress, what: str, plan: str = "") -> Kept[About]:
        """What is there, else what this process or another one makes; see `make`."""
        found = self.sound()
        if found is None:
            with self.alone(progress, what):
                found = self.sound() or self.make(fill, plan)  # it may have come while this waited
        return found

    @contextmanager
    def alone(self, progress: Progress, what: str) -> Iterator[None]:
        """Let one process at a time make the entry.

        Args:
            progress: told where another process is at it, before its end is waited for.
            what: is made.

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
        """Make the entry, in place of an older one. To be called by one process at a time (`alone`).

        Args:
            fill: writes the files into an empty folder, or one with what an interrupted attempt left.
            plan: what is made, as a hash; an interrupted attempt is gone on with towards the same plan alone. Without it
                nothing is kept of an interrupted attempt.

        Raises:
            UserError: it cannot be written, or the disk is full; what was there before is left.
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
        """What is written has to be what is read."""
        try:
            decode(self.kind, json.loads(json.dumps(asdict(about))))  # type: ignore[call-overload]
        except Undecodable as error:
            raise UserError(f"cannot write {self.folder}: {error}") from error


def _state(path: Path, digest: str) -> FileState:
    size, modified = stamp(regular_file(path))
    return FileState(size, modified, digest)
