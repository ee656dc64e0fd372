"""The cache: folders that take a while to make, made by one process at a time, there at once or not at all, and checked.

An entry is a folder with files and `manifest.json`, which describes what they hold (a dataclass of whoever made them) and has
size, time and SHA-256 of each. Opening compares sizes and times, and a hash where a time differs, so that damage is noticed
at the cost of a hash only when something touched a file.

A large array is written row by row (`Unfinished.write_rows`). An attempt that was interrupted leaves it hidden beside the
entry, with a journal of what is safely on the disk, and the next attempt goes on from there.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Generic, NamedTuple, TypeVar

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

MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"
SAFE_SECONDS = 2.0  # at most so much work is done again after a kill
PIECE = 2**24  # bytes read at a time
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
        sweep(self.folder.parent)
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


@dataclass(frozen=True)
class Reached:
    """How far the writing of an array came.

    Attributes:
        done: rows that are written.
        seconds: what they took, those of earlier attempts included.
        size: what was noted with the last block.
    """

    done: int = 0
    seconds: float = 0.0
    size: int = 0


class Block(NamedTuple):
    """Rows of an array.

    Attributes:
        rows: their numbers, int64 [k].
        values: what stands there, [k, …].
        size: a number to be noted, from which an interrupted attempt goes on.
    """

    rows: np.ndarray
    values: np.ndarray
    size: int = 0


@dataclass
class Unfinished:
    """An entry in the making.

    Attributes:
        folder: where its files are to be written.
        plan: what is made; "" where nothing is kept of an interrupted attempt.
    """

    folder: Path
    plan: str
    hashes: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Throw away what another plan left."""
        if not self.plan or self._journal()[:1] != [{"plan": self.plan}]:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / JOURNAL).write_text(f"{json.dumps({'plan': self.plan})}\n", encoding="utf-8")

    def sha256_of(self, name: str) -> str:
        """Hash of a file that is written; it is read once."""
        if name not in self.hashes:
            self.hashes[name] = sha256_of(self.folder / name)
        return self.hashes[name]

    def write_rows(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        blocks: Callable[[Reached], Generator[Block, None, None]],
        progress: Progress,
        what: str,
        unit: str = "",
    ) -> Reached:
        """Write an .npy file row by row, or the rows that an interrupted attempt did not come to.

        Ordinary writes, which unlike mapped pages do not count as this process's memory.

        Args:
            name: of the file.
            shape: of the array.
            dtype: of the array.
            blocks: yields the rows, in an order that is always the same, but for those that were reached.
            progress: told of each block, and of what an earlier attempt left.
            what: is done ("encoding trifeature test").
            unit: what the rows a second are called.

        Returns:
            All rows, with the seconds that they took.

        Raises:
            OSError: the disk is full.
        """
        header, row_bytes = npy_header(shape, dtype), int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        path = self.folder / name
        earlier = self._reached(path, header, row_bytes, shape[0])
        if earlier.done:
            progress.say(f"going on after {earlier.done} of {shape[0]} images, where an earlier attempt was interrupted")
        with (
            path.open("r+b" if earlier.done else "wb", buffering=0) as file,
            (self.folder / JOURNAL).open("ab") as journal,
            progress.track(what, shape[0], unit) as advance,
            closing(blocks(earlier)) as coming,
        ):
            _write(file, 0, header)
            advance(earlier.done)
            writer = _Rows(file, journal, len(header), row_bytes, earlier)
            try:
                for block in coming:
                    writer.add(block)
                    advance(len(block.rows))
            except KeyboardInterrupt:
                if self.plan and writer.reached.done:
                    writer.save()
                    told = f"interrupted after {writer.reached.done} of {shape[0]} images"
                    progress.say(f"{told}; the same command goes on from there")
                raise
            file.truncate(len(header) + shape[0] * row_bytes)
            os.fsync(file.fileno())
        return writer.reached

    def _journal(self) -> list[object]:
        """Lines of the journal; none, where it is damaged."""
        try:
            return [json.loads(line) for line in (self.folder / JOURNAL).read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, RecursionError):
            return []

    def _reached(self, path: Path, header: bytes, row_bytes: int, rows: int) -> Reached:
        """How far an earlier attempt came; nowhere, if anything that it left is not as it was written."""
        reached, done = Reached(), 0
        try:
            with regular_file(path).open("rb") as file:
                sound = file.read(len(header)) == header
                for line in self._journal()[1:]:
                    if isinstance(line, dict):
                        reached = decode(Reached, line)
                        continue
                    first, count, checksum = decode(tuple[int, int, int], line)
                    sound = sound and 0 <= first < first + count <= rows
                    if not sound:
                        break
                    file.seek(len(header) + first * row_bytes)
                    sound = sound and checksum == _checksum(file, count * row_bytes)
                    done += count
        except (OSError, ValueError, TypeError, UserError):
            sound = False
        if sound and 0 < done == reached.done <= rows and reached.seconds >= 0 and reached.size >= 0:
            return reached
        (self.folder / JOURNAL).write_text(f"{json.dumps({'plan': self.plan})}\n", encoding="utf-8")
        return Reached()


class _Rows:
    """Writes blocks into a file, and into the journal which rows are safely there, with their checksums."""

    def __init__(self, file: IO[bytes], journal: IO[bytes], start: int, row_bytes: int, earlier: Reached) -> None:
        self.file, self.journal, self.start, self.row_bytes = file, journal, start, row_bytes
        self.reached, self.earlier = earlier, earlier.seconds
        self.began = self.safe = time.monotonic()
        self.runs: list[list[int]] = []  # first row, number of rows, CRC-32: written since the journal was

    def add(self, block: Block) -> None:
        breaks = np.flatnonzero(np.diff(block.rows) != 1) + 1
        for run, values in zip(np.split(block.rows, breaks), np.split(block.values, breaks), strict=True):
            content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
            first = int(run[0])
            _write(self.file, self.start + first * self.row_bytes, content)
            if self.runs and first == self.runs[-1][0] + self.runs[-1][1]:
                self.runs[-1][1:] = self.runs[-1][1] + len(run), zlib.crc32(content, self.runs[-1][2])
            else:
                self.runs.append([first, len(run), zlib.crc32(content)])
        now = time.monotonic()
        self.reached = Reached(self.reached.done + len(block.rows), self.earlier + now - self.began, block.size)
        if now - self.safe > SAFE_SECONDS:
            self.save()
            self.safe = now

    def save(self) -> None:
        os.fsync(self.file.fileno())
        lines = [json.dumps(line) for line in (*self.runs, asdict(self.reached))]
        self.journal.write("".join(f"{line}\n" for line in lines).encode())
        self.journal.flush()
        os.fsync(self.journal.fileno())
        self.runs = []


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """How an .npy file begins."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write(file: IO[bytes], place: int, content: bytes | memoryview) -> None:
    """Write all of `content`, of which an unbuffered write may take a part."""
    file.seek(place)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _checksum(file: IO[bytes], size: int) -> int:
    """CRC-32 of the next `size` bytes of a file; of fewer, where it ends before."""
    checksum = 0
    for left in range(size, 0, -PIECE):
        checksum = zlib.crc32(file.read(min(left, PIECE)), checksum)
    return checksum
