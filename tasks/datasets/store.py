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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UserError
from ..files import folder_at_once, remove_folder, sha256_of, write_atomically
from ..progress import Progress

if TYPE_CHECKING:
    from .base import Contents

ABSENT = "not prepared"
IMAGES, SOURCES, MANIFEST = "images.npy", "sources.txt", "manifest.json"


def build(folder: Path, contents: Contents, about: dict[str, Any], progress: Progress) -> None:
    """Make a split's folder, replacing a damaged or older one.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with folder_at_once(folder) as temporary:
        shape = (int(sum(contents.counts)), *contents.shape)
        images = np.lib.format.open_memmap(temporary / IMAGES, mode="w+", dtype=np.uint8, shape=shape)
        contents.fill(images, progress)
        images.flush()
        del images
        (temporary / SOURCES).write_text("".join(f"{source}\n" for source in contents.sources), encoding="utf-8")
        manifest = {
            **about,
            "shape": shape,
            "class_ids": list(contents.class_ids),
            "class_names": list(contents.class_names),
            "counts": [int(count) for count in contents.counts],
            "images_sha256": sha256_of(temporary / IMAGES),
            "stamp": stamp(temporary / IMAGES),
        }
        manifest["fingerprint"] = fingerprint(manifest)
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        remove_folder(folder)  # only now: a failure above leaves what was there


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
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
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
        write_atomically(folder / MANIFEST, json.dumps({**manifest, "stamp": now}, indent=1).encode())
    return None


def open_folder(folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Images (memory-mapped, read-only) and manifest of a split that `check` found sound."""
    try:
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        return images, json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot open {folder}: {error}") from error
