"""A cache entry in the making: its files, each hashed once, and large arrays written row by row.

An interrupted attempt leaves the folder with a journal of the rows that are safely on the disk. The next attempt with the same
plan continues from there. The journal's first line is the plan. Each following line is a list [first row, number of rows,
CRC-32] of rows, in the order of writing, or, after each sync of the disk, an object with the progress so far (`Reached`).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .decoding import decode
from .files import regular_file, sha256_of
from .progress import Progress

JOURNAL = "journal.jsonl"
SAFE_SECONDS = 2.0  # a kill loses at most this much work
PIECE = 2**24  # bytes to read at a time


@dataclass(frozen=True)
class Reached:
    """Progress of the writing of an array.

    Attributes:
        done: number of rows written.
        seconds: time spent on them, in all attempts.
        size: `size` of the last block.
    """

    done: int = 0
    seconds: float = 0.0
    size: int = 0


class Block(NamedTuple):
    """Rows of an array.

    Attributes:
        rows: row numbers, int64 [k].
        values: content of these rows, [k, …].
        size: a number that the producer wants back when an interrupted attempt continues.
    """

    rows: np.ndarray
    values: np.ndarray
    size: int = 0


@dataclass
class Unfinished:
    """An entry in the making.

    Attributes:
        folder: the folder for its files.
        plan: a hash of everything that determines the content; "" where an interrupted attempt is removed.
        hashes: SHA-256 of the files that were hashed already, by name.
    """

    folder: Path
    plan: str
    hashes: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Empty the folder unless it holds an interrupted attempt with the same plan."""
        if not self.plan or self._journal()[:1] != [self._first_line]:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / JOURNAL).write_text(self._first_line)

    @property
    def _first_line(self) -> str:
        return f"{json.dumps({'plan': self.plan})}\n"

    def sha256_of(self, name: str) -> str:
        """Hexadecimal SHA-256 of a finished file, which is read only once."""
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
        """Write an .npy file row by row; after an interruption, write the remaining rows.

        Ordinary writes are used: unlike mapped pages, they do not count as this process's memory.

        Args:
            name: name of the file.
            shape: shape of the array.
            dtype: type of the array.
            blocks: gets the progress of the earlier attempt and yields the remaining rows, in an order that is always the same.
            progress: tells the user of each block and of a continued attempt.
            what: name of the work ("encoding trifeature test").
            unit: name of a row in rows per second.

        Returns:
            The progress at the end: all rows, and the seconds that they took.

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

    def _journal(self) -> list[str]:
        """Lines of the journal up to the last sync; an empty list where it is damaged."""
        try:
            lines = (self.folder / JOURNAL).read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, ValueError):
            return []
        while lines and not (lines[-1].startswith("{") and lines[-1].endswith("}\n")):  # a kill may have cut it
            lines.pop()
        return lines

    def _reached(self, path: Path, header: bytes, row_bytes: int, rows: int) -> Reached:
        """Progress of an earlier attempt; none where any of its rows fails its checksum or the journal is damaged."""
        reached, done, lines = Reached(), 0, self._journal()
        try:
            with regular_file(path).open("rb") as file:
                sound = file.read(len(header)) == header
                for line in map(json.loads, lines[1:]):
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
        except (OSError, ValueError, RecursionError):
            sound = False
        sound = sound and 0 < done == reached.done <= rows and reached.seconds >= 0 and reached.size >= 0
        (self.folder / JOURNAL).write_text("".join(lines) if sound else self._first_line)
        return reached if sound else Reached()


class _Rows:
    """Writes blocks into a file, and notes in the journal which rows are safely there, with their checksums."""

    def __init__(self, file: IO[bytes], journal: IO[bytes], start: int, row_bytes: int, earlier: Reached) -> None:
        self.file, self.journal, self.start, self.row_bytes = file, journal, start, row_bytes
        self.reached, self.earlier = earlier, earlier.seconds
        self.began = self.safe = time.monotonic()
        self.runs: list[tuple[int, int, int]] = []  # first row, number of rows, CRC-32: written since the last sync

    def add(self, block: Block) -> None:
        runs = self.runs[:]
        breaks = np.flatnonzero(np.diff(block.rows) != 1) + 1
        for run, values in zip(np.split(block.rows, breaks), np.split(block.values, breaks), strict=True):
            content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
            first = int(run[0])
            _write(self.file, self.start + first * self.row_bytes, content)
            begun, count, checksum = runs.pop() if runs and first == sum(runs[-1][:2]) else (first, 0, 0)
            runs.append((begun, count + len(run), zlib.crc32(content, checksum)))
        now = time.monotonic()
        reached = Reached(self.reached.done + len(block.rows), self.earlier + now - self.began, block.size)
        self.runs, self.reached = runs, reached  # at once: Ctrl-C may come at any time
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
    """The header of an .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write(file: IO[bytes], place: int, content: bytes | memoryview) -> None:
    """Write all of `content`; a single unbuffered write may take only a part."""
    file.seek(place)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _checksum(file: IO[bytes], size: int) -> int:
    """CRC-32 of the next `size` bytes of a file, or of the rest where the file is shorter."""
    checksum = 0
    for left in range(size, 0, -PIECE):
        checksum = zlib.crc32(file.read(min(left, PIECE)), checksum)
    return checksum
