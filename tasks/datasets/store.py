"""The prepared form of a split: an entry of the cache with memory-mapped images and the names of their sources.

Its files are `images.npy` (uint8 [n, H, W, C], rows class by class), `sources.txt` (one line a row; empty when rows have no
names) and `manifest.json`, which has classes, counts, licence, citation and fingerprint (`Prepared`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.cache import Damaged, Entry, Kept
from ...core.errors import UserError
from ...core.files import make_folder
from ...core.progress import Progress
from ...core.unfinished import Block, Reached, Unfinished, npy_header

ABSENT = "not prepared"
IMAGES, SOURCES = "images.npy", "sources.txt"
ZEROS = bytes(2**20)


@dataclass(frozen=True)
class Contents:
    """What one split will hold, known before its images are made. They are made by `fill` or by `stream`.

    Attributes:
        class_ids: identifiers, one a class.
        class_names: readable names, one a class.
        counts: images a class.
        shape: (H, W, C).
        fill: writes every image into a uint8 array [sum(counts), H, W, C], rows class by class, and reports progress.
        sources: one name a row (a file, or how the image was made), or empty.
        stream: yields row numbers [k] and their images, uint8 [k, H, W, C], in an order that is always the same; its
            argument says how many rows of that order are there already. For what takes long: it is resumed.
        origin: where the images come from, for the manifest; empty means the source given, or the dataset's homepage.
    """

    class_ids: Sequence[str]
    class_names: Sequence[str]
    counts: Sequence[int]
    shape: tuple[int, int, int]
    fill: Callable[[np.ndarray, Progress], None] | None = None
    sources: Sequence[str] = ()
    stream: Callable[[int], Generator[tuple[np.ndarray, np.ndarray], None, None]] | None = None
    origin: str = ""

    @property
    def array_shape(self) -> tuple[int, ...]:
        """[n, H, W, C] of all images."""
        return (int(sum(self.counts)), *self.shape)


@dataclass(frozen=True)
class Origin:
    """Which split of which dataset this is, and where its images come from."""

    dataset: str
    version: str
    parameters: dict[str, Any]
    split: str
    citation: str
    licence: str
    homepage: str
    source: str


@dataclass(frozen=True)
class Prepared:
    """What a prepared split holds.

    Attributes:
        origin: of the images.
        shape: [n, H, W, C].
        class_ids: identifiers, one a class.
        class_names: readable names, one a class.
        counts: images a class.
        fingerprint: see `fingerprint`.
    """

    origin: Origin
    shape: tuple[int, int, int, int]
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    fingerprint: str


def entry(folder: Path) -> Entry[Prepared]:
    """The place in the cache of the split that is prepared in a folder."""
    return Entry(folder, Prepared)


def build(folder: Path, contents: Contents, origin: Origin, progress: Progress) -> None:
    """Make a split's folder, replacing a damaged or older one. By one process at a time (`Entry.alone`).

    Raises:
        UserError: the folder cannot be written, the disk is full, or images of the source cannot be read.
    """

    def fill(unfinished: Unfinished) -> Prepared:
        if contents.stream is None:
            _fill(unfinished.folder / IMAGES, contents, progress)
        else:
            what = f"reading {origin.dataset}, {origin.split}: images"
            blocks = lambda reached: _blocks(contents, reached)  # noqa: E731
            unfinished.write_rows(IMAGES, contents.array_shape, np.dtype(np.uint8), blocks, progress, what)
        lines = (source.replace("\n", "\\n") for source in contents.sources)
        text = "".join(f"{line}\n" for line in lines)
        (unfinished.folder / SOURCES).write_text(text, encoding="utf-8", errors="backslashreplace")
        n, height, width, channels = contents.array_shape
        shape, counts, ids = (n, height, width, channels), tuple(map(int, contents.counts)), tuple(contents.class_ids)
        digest = fingerprint(shape, ids, counts, unfinished.sha256_of(IMAGES))
        return Prepared(origin, shape, ids, tuple(contents.class_names), counts, digest)

    entry(folder).make(fill, "" if contents.stream is None else _plan(contents, origin))


def check_room(wanted: Mapping[Path, Contents]) -> None:
    """Find out before the work, not after, that the disk is too small for all splits that are to be made.

    Args:
        wanted: the contents of each split's folder.

    Raises:
        UserError: it is.
    """
    needed = sum(int(np.prod(one.array_shape, dtype=np.int64)) - _already(folder) for folder, one in wanted.items())
    folder = next(iter(wanted)).parent
    free = shutil.disk_usage(make_folder(folder.parent)).free
    if needed > free:
        raise UserError(
            f"cannot write {folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; make room, or set "
            "FEWBENCH_CACHE to a folder on another disk"
        )


def _already(folder: Path) -> int:
    """Bytes that an interrupted attempt has written."""
    images = entry(folder).unfinished / IMAGES
    return images.stat().st_size if images.exists() else 0


def _plan(contents: Contents, origin: Origin) -> str:
    """A hash of what will be made, so that an interrupted attempt is only resumed towards the same images."""
    plan = [asdict(origin), list(contents.class_ids), list(map(int, contents.counts)), contents.shape, list(contents.sources)]
    return hashlib.sha256(json.dumps(plan).encode()).hexdigest()


def _fill(path: Path, contents: Contents, progress: Progress) -> None:
    """Have all images written into an array that is mapped into memory."""
    if contents.fill is None:
        raise TypeError("contents need fill or stream")
    shape = contents.array_shape
    with path.open("wb") as file:
        file.write(npy_header(shape, np.dtype(np.uint8)))
        # The file gets its blocks here: on a full disk this is an error, and writing into a mapped hole would be a crash.
        for missing in range(int(np.prod(shape, dtype=np.int64)), 0, -len(ZEROS)):
            file.write(ZEROS[:missing])
    images = np.lib.format.open_memmap(path, mode="r+")
    contents.fill(images, progress)
    images.flush()


def _blocks(contents: Contents, reached: Reached) -> Generator[Block, None, None]:
    assert contents.stream is not None
    with closing(contents.stream(reached.done)) as pieces:
        for rows, images in pieces:
            yield Block(rows, images)


def fingerprint(shape: Sequence[int], class_ids: Sequence[str], counts: Sequence[int], images_sha256: str) -> str:
    """Hexadecimal SHA-256 over shape, class identifiers, counts and image bytes: what an episode's meaning depends on."""
    content = [list(shape), list(class_ids), list(counts), images_sha256]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def prepared(folder: Path, thorough: bool = False) -> Kept[Prepared] | None:
    """A prepared split; None where there is none.

    Args:
        folder: the split's folder.
        thorough: hash the images even when their size and time are as they were.

    Raises:
        Damaged: it is not as it was made.
    """
    found = entry(folder).find(thorough)
    if found is None:
        return None
    about, images = found.about, found.files.get(IMAGES)
    if images is None or about.fingerprint != fingerprint(about.shape, about.class_ids, about.counts, images.sha256):
        raise Damaged("the manifest is damaged")
    return found


def check(folder: Path, thorough: bool = False) -> str | None:
    """What is wrong with a prepared split, or None; see `prepared`."""
    try:
        return ABSENT if prepared(folder, thorough) is None else None
    except Damaged as error:
        return str(error)


def sources_of(folder: Path) -> tuple[str, ...]:
    """The name of each row's image in a prepared split (a file, or how it was made); empty where none is named."""
    return tuple((folder / SOURCES).read_text(encoding="utf-8").split("\n")[:-1])
