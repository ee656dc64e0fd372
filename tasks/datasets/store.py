"""The prepared form of a split: an entry of the cache with memory-mapped images and the names of their sources.

Its files are `images.npy` (uint8 [n, H, W, C], rows class by class), `sources.txt` (one line for each row, or none) and
`manifest.json` with classes, counts, licence, citation and fingerprint (`Prepared`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...core.cache import Damaged, Entry, Kept
from ...core.errors import UserError
from ...core.files import make_folder
from ...core.options import Settings
from ...core.progress import Progress
from ...core.unfinished import Unfinished, npy_header
from .contents import Contents, streamed

ABSENT = "not prepared"
IMAGES, SOURCES = "images.npy", "sources.txt"
ZEROS = bytes(2**20)


@dataclass(frozen=True)
class Origin:
    """The dataset, its parameters, the split, the origin of the images, and the code of a plug-in that made them."""

    dataset: str
    version: str
    parameters: Settings
    split: str
    citation: str
    licence: str
    homepage: str
    source: str
    code: str | None = None


@dataclass(frozen=True)
class Prepared:
    """The description of a prepared split in its manifest.

    Attributes:
        origin: dataset, split and origin of the images.
        shape: [n, H, W, C].
        class_ids: one identifier for each class.
        class_names: one readable name for each class.
        counts: number of images of each class.
        fingerprint: see `fingerprint`.
    """

    origin: Origin
    shape: tuple[int, int, int, int]
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    fingerprint: str


def entry(folder: Path) -> Entry[Prepared]:
    """The cache entry of a split, by its folder."""
    return Entry(folder, Prepared)


def build(folder: Path, contents: Contents, origin: Origin, progress: Progress) -> None:
    """Prepare a split, in place of a damaged or older one. One process at a time may call this (`Entry.alone`).

    Raises:
        UserError: the folder cannot be written, the disk is full, images of the source cannot be read, or a plug-in gives other
            images than its `contents` says.
    """
    owner = f"dataset {origin.dataset}, {origin.split}"

    def fill(unfinished: Unfinished) -> Prepared:
        if contents.stream is None:
            _fill(unfinished.folder / IMAGES, contents, progress)
        else:
            what = f"reading {origin.dataset}, {origin.split}: images"
            blocks = lambda reached: streamed(contents, reached, owner)  # noqa: E731
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
    """Check before the work that the disk has room for all splits to be prepared.

    Args:
        wanted: contents by the split's folder.

    Raises:
        UserError: the disk is too small.
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
    """A hash of everything that determines the images; only an attempt with the same hash is resumed."""
    plan = [asdict(origin), list(contents.class_ids), list(map(int, contents.counts)), contents.shape, list(contents.sources)]
    return hashlib.sha256(json.dumps(plan).encode()).hexdigest()


def _fill(path: Path, contents: Contents, progress: Progress) -> None:
    """Let `contents.fill` write all images into an array that is mapped into memory."""
    assert contents.fill is not None
    shape = contents.array_shape
    with path.open("wb") as file:
        file.write(npy_header(shape, np.dtype(np.uint8)))
        # Zeros reserve the disk blocks: on a full disk this raises an error, while writing into a mapped hole would crash.
        for missing in range(int(np.prod(shape, dtype=np.int64)), 0, -len(ZEROS)):
            file.write(ZEROS[:missing])
    images = np.lib.format.open_memmap(path, mode="r+")
    contents.fill(images, progress)
    images.flush()


def fingerprint(shape: Sequence[int], class_ids: Sequence[str], counts: Sequence[int], images_sha256: str) -> str:
    """Hexadecimal SHA-256 over shape, class identifiers, counts and image bytes, which determine an episode's images."""
    content = [list(shape), list(class_ids), list(counts), images_sha256]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def prepared(folder: Path, thorough: bool = False) -> Kept[Prepared] | None:
    """Open a prepared split; None where there is none.

    Args:
        folder: the split's folder.
        thorough: hash the images, also where size and time are unchanged.

    Raises:
        Damaged: a file has changed since it was made.
    """
    found = entry(folder).find(thorough)
    if found is None:
        return None
    about, images = found.about, found.files.get(IMAGES)
    if images is None or about.fingerprint != fingerprint(about.shape, about.class_ids, about.counts, images.sha256):
        raise Damaged("the manifest is damaged")
    return found


def check(folder: Path, thorough: bool = False) -> str | None:
    """The problem with a prepared split, in words; None where it is sound. The arguments are those of `prepared`."""
    try:
        return ABSENT if prepared(folder, thorough) is None else None
    except Damaged as error:
        return str(error)


def sources_of(folder: Path) -> tuple[str, ...]:
    """The name of each row's image in a prepared split (see `Contents.sources`); empty where rows have no names."""
    return tuple((folder / SOURCES).read_text(encoding="utf-8").split("\n")[:-1])
