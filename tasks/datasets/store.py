"""The prepared form of a split: a folder with memory-mapped images, the row sources and a manifest.

    images.npy      uint8 [n, H, W, C], rows class by class
    sources.txt     one line a row (empty when rows have no names)
    manifest.json   classes, counts, licence, citation, fingerprint, and the size and time of images.npy when it was written

The folder appears at once or not at all. Opening compares size and time of images.npy with the manifest, and its hash
where they differ, so damage is noticed at the cost of a hash only when something touched the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ...core.errors import UserError
from ...core.files import folder_at_once, make_folder, remove_folder, sha256_of, write_atomically
from ...core.progress import Progress
from ...core.resumable import Unfinished, resumable_folder, unfinished_folder

if TYPE_CHECKING:
    from .base import Contents

ABSENT = "not prepared"
IMAGES, SOURCES, MANIFEST = "images.npy", "sources.txt", "manifest.json"
SAFE_SECONDS = 2.0  # at most so much decoding is done again after an interruption
ZEROS = bytes(2**20)


def build(folder: Path, contents: Contents, about: dict[str, Any], progress: Progress) -> None:
    """Make a split's folder, replacing a damaged or older one. By one process at a time (`resumable.alone`).

    Raises:
        UserError: the folder cannot be written, the disk is full, or images of the source cannot be read.
    """
    if contents.stream is None:
        with folder_at_once(folder) as temporary:
            _fill(temporary / IMAGES, contents, progress)
            _describe(temporary, contents, about)
            remove_folder(folder)  # only now: a failure above leaves what was there
    else:
        with resumable_folder(folder, _plan(contents, about)) as unfinished:
            _stream(unfinished, contents, f"reading {about['dataset']}, {about['split']}: images", progress)
            _describe(unfinished.folder, contents, about)


def _shape(contents: Contents) -> tuple[int, ...]:
    return (int(sum(contents.counts)), *contents.shape)


def check_room(wanted: Mapping[Path, Contents]) -> None:
    """Find out before the work, not after, that the disk is too small for all splits that are to be made.

    Args:
        wanted: the contents of each split's folder.

    Raises:
        UserError: it is.
    """
    needed = sum(int(np.prod(_shape(contents), dtype=np.int64)) - _already(folder) for folder, contents in wanted.items())
    folder = next(iter(wanted)).parent
    free = shutil.disk_usage(make_folder(folder.parent)).free
    if needed > free:
        raise UserError(
            f"cannot write {folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; make room, or set "
            "FEWBENCH_CACHE to a folder on another disk"
        )


def _already(folder: Path) -> int:
    """Bytes that an interrupted attempt has written."""
    images = unfinished_folder(folder) / IMAGES
    return images.stat().st_size if images.exists() else 0


def _plan(contents: Contents, about: dict[str, Any]) -> str:
    """A hash of what will be made, so that an interrupted attempt is only resumed towards the same images."""
    plan = [about, list(contents.class_ids), list(map(int, contents.counts)), contents.shape, list(contents.sources)]
    return hashlib.sha256(json.dumps(plan).encode()).hexdigest()


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> int:
    """Begin an npy file of uint8; returns where its data begin."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.tell()


def _fill(path: Path, contents: Contents, progress: Progress) -> None:
    """Have all images written into an array that is mapped into memory."""
    if contents.fill is None:
        raise TypeError("contents need fill or stream")
    shape = _shape(contents)
    with path.open("wb") as file:
        _write_header(file, shape)
        # The file gets its blocks here: on a full disk this is an error, and writing into a mapped hole would be a crash.
        for missing in range(int(np.prod(shape, dtype=np.int64)), 0, -len(ZEROS)):
            file.write(ZEROS[:missing])
    images = np.lib.format.open_memmap(path, mode="r+")
    contents.fill(images, progress)
    images.flush()


def _stream(unfinished: Unfinished, contents: Contents, description: str, progress: Progress) -> None:
    """Write images as they come; ordinary writes, which unlike mapped pages do not count as this process's memory."""
    if contents.stream is None:
        raise TypeError("contents need fill or stream")
    shape, done = _shape(contents), unfinished.done
    row_bytes = int(np.prod(shape[1:], dtype=np.int64))
    path = unfinished.folder / IMAGES
    if done:
        progress.say(f"going on after {done} of {shape[0]} images, where an earlier attempt was interrupted")
    with path.open("r+b" if done else "w+b", buffering=0) as file, progress.track(description, shape[0]) as advance:
        start = _write_header(file, shape)
        advance(done)
        safe = time.monotonic()
        try:
            with closing(contents.stream(done)) as pieces:
                for rows, images in pieces:
                    _write_rows(file, start, row_bytes, rows, images)
                    done += len(rows)
                    advance(len(rows))
                    if time.monotonic() - safe > SAFE_SECONDS:
                        _save(unfinished, file, done)
                        safe = time.monotonic()
        except KeyboardInterrupt:
            _save(unfinished, file, done)
            progress.say(f"interrupted after {done} of {shape[0]} images; the same command goes on from there")
            raise
        os.fsync(file.fileno())


def _save(unfinished: Unfinished, file: IO[bytes], done: int) -> None:
    os.fsync(file.fileno())
    unfinished.reached(done)


def _write_rows(file: IO[bytes], start: int, row_bytes: int, rows: np.ndarray, images: np.ndarray) -> None:
    """Write images to their rows, neighbours at once."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run, block in zip(np.split(rows, breaks), np.split(images, breaks), strict=True):
        file.seek(start + int(run[0]) * row_bytes)
        left = memoryview(block.tobytes())
        while left:  # an unbuffered write may write a part
            left = left[file.write(left) :]


def _describe(folder: Path, contents: Contents, about: dict[str, Any]) -> None:
    """Write sources and manifest beside the images."""
    lines = (source.replace("\n", "\\n") for source in contents.sources)
    text = "".join(f"{line}\n" for line in lines)
    (folder / SOURCES).write_text(text, encoding="utf-8", errors="backslashreplace")
    manifest = {
        **about,
        "shape": _shape(contents),
        "class_ids": list(contents.class_ids),
        "class_names": list(contents.class_names),
        "counts": [int(count) for count in contents.counts],
        "images_sha256": sha256_of(folder / IMAGES),
        "stamp": stamp(folder / IMAGES),
    }
    manifest["fingerprint"] = fingerprint(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def fingerprint(manifest: dict[str, Any]) -> str:
    """Hexadecimal SHA-256 over shape, class identifiers, counts and image bytes: what an episode's meaning depends on."""
    content = [list(manifest["shape"]), manifest["class_ids"], manifest["counts"], manifest["images_sha256"]]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def check(folder: Path, thorough: bool = False) -> str | None:
    """What is wrong with a prepared split, or None.

    Args:
        folder: the split's folder.
        thorough: hash the images even when their size and time are as they were.
    """
    if not folder.is_dir():
        return ABSENT
    try:
        manifest = read_manifest(folder)
        now, then = stamp(folder / IMAGES), manifest["stamp"]
        if now == then and not thorough:
            return None
        if now[0] != then[0] or sha256_of(folder / IMAGES) != manifest["images_sha256"]:
            return "the prepared images are damaged"
        if manifest["fingerprint"] != fingerprint(manifest):
            return "the manifest is damaged"
    except (OSError, ValueError, KeyError, TypeError):
        return "the prepared folder is damaged"
    if now != then:  # copied or touched, but sound: note the new time, so that the next opening is quick
        with suppress(UserError):  # in a cache that others prepared for all it cannot be noted
            write_atomically(folder / MANIFEST, json.dumps({**manifest, "stamp": now}, indent=1).encode())
    return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared split.

    Raises:
        OSError: it is not there.
        ValueError: it is damaged.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise ValueError(f"{folder / MANIFEST} is damaged")
    return manifest


def open_folder(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Images (memory-mapped, read-only) and manifest of a split that `check` found sound."""
    try:
        return np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False), read_manifest(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot open {folder}: {error}") from error
