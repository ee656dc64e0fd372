"""The feature table: every image of a split encoded once, cached on disk, memory-mapped.

The cache key holds everything that changes a feature, so a table is never stale: at worst it is unused.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.files import cache_root, write_atomically
from ...core.progress import Progress
from ...core.resumable import alone, resumable_folder
from ...tasks.datasets.base import Split
from ...tasks.datasets.store import stamp
from ..backbones.weights.loading import LoadedBackbone
from ..device import device_name
from ..records.record import file_safe
from .encode import DEFAULT, VERSION, Encoding, encode
from .file import FEATURES, checksum_of, write_features
from .rows import RowFile, chunks

ABOUT = "features.json"
IN_MEMORY = 2**30  # bytes; a larger table is read from the disk, episode by episode


@dataclass(frozen=True)
class FeatureTable:
    """Features of one split.

    Attributes:
        features: float32 or float16 [n, D], memory-mapped.
        device: where episodes are wanted.
        resident: the same on `device`, when it is small enough to be held there.
        encoded: how they were made: `images`, `seconds`, `device`, `device_name` and `precision`; None where nobody noted it.
        file: where rows are looked up that are not resident; None takes them from `features`.
    """

    features: np.ndarray
    device: torch.device
    resident: Tensor | None
    encoded: dict[str, Any] | None = None
    file: RowFile | None = None

    @classmethod
    def of(cls, features: np.ndarray, device: torch.device, encoded: dict[str, Any] | None = None) -> FeatureTable:
        """A table of features [n, D], held on the device where it is small enough."""
        if features.nbytes > IN_MEMORY:
            return cls(features, device, None, encoded, RowFile.of(features))
        copy = np.empty(features.shape, features.dtype)
        for start, rows in chunks(features):
            copy[start : start + len(rows)] = rows
        return cls(features, device, torch.from_numpy(copy).to(device), encoded)

    def gather(self, rows: np.ndarray) -> Tensor:
        """The features of rows [E, R], as float32 [E, R, D] on the device."""
        if self.resident is None:
            flat = rows.reshape(-1)
            found = self.features[flat] if self.file is None else self.file.read(flat)
            return torch.from_numpy(found).to(self.device).float().view(*rows.shape, -1)
        index = torch.from_numpy(rows.reshape(-1)).to(self.device)
        return self.resident.index_select(0, index).float().view(*rows.shape, -1)

    def mean(self) -> Tensor:
        """float32 [D], the mean feature."""
        total = np.zeros(self.features.shape[1])
        for _, rows in chunks(self.features):
            total += rows.sum(axis=0, dtype=np.float64)
        return torch.from_numpy((total / len(self.features)).astype(np.float32)).to(self.device)


def key(backbone: LoadedBackbone, split: Split, encoding: Encoding = DEFAULT, device: str = "cpu") -> dict[str, Any]:
    """Everything that changes a feature.

    Args:
        backbone: the network, its weights and how images are made ready.
        split: the images.
        encoding: of which precision and compiling count; the size of batches changes last bits alone.
        device: type of the device; others than the CPU round otherwise, and their tables are their own.
    """
    content = {
        "fingerprint": split.fingerprint,
        "split": split.name,
        "backbone": backbone.name,
        "parameters": backbone.parameters,
        "weights": backbone.weights_sha256,
        "preprocess": asdict(backbone.preprocess),
        "precision": encoding.precision,
        "code": [VERSION, backbone.source_sha256],
    }
    if encoding.compile:
        content["compile"] = True
    # Only what is not plain is added: the plain tables of before keep their keys.
    return content if device == "cpu" else {**content, "device": device}


def feature_table(
    backbone: LoadedBackbone, split: Split, device: torch.device, progress: Progress, encoding: Encoding = DEFAULT
) -> tuple[FeatureTable, bool]:
    """Open the table of a split, or encode it first. Of two processes that want the same table one encodes, the other waits.

    Imported features are opened where they were imported to.

    Args:
        backbone: moved to `device` where it encodes.
        split: whose images are encoded.
        device: where the network runs and episodes are wanted.
        progress: shows the encoding in images per second, and compares it with what the device can do where it is verbose.
        encoding: precision, batch size, whether to compile.

    Returns:
        The table, and whether it was in the cache.

    Raises:
        UserError: it cannot be encoded (`encode`), or written, or imported features are of other images.
    """
    precomputed = backbone.precomputed(split)
    if precomputed is not None:
        return FeatureTable.of(precomputed.features, device, precomputed.encoded), True
    encoding.check(device)
    content = key(backbone, split, encoding, device.type)
    folder = cache_root() / "features" / f"{split.dataset}-{split.name}-{file_safe(backbone.name)}-{_hash(content)[:24]}"
    about = _sound(folder)
    cached = about is not None
    if about is None:
        what = f"encoding {split.dataset} {split.name}"
        with alone(folder, lambda: progress.say(f"{what}: another process is at it; waiting")):
            about = _sound(folder)  # it may have come while this waited
            cached = about is not None
            if about is None:
                about = _encode(folder, content, backbone, split, device, progress, encoding, what)
    features = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
    return FeatureTable.of(features, device, about.get("encoded")), cached


def table_of_rows(
    backbone: LoadedBackbone, split: Split, rows: np.ndarray, device: torch.device, encoding: Encoding = DEFAULT
) -> FeatureTable:
    """The features of a few rows [n] of a split, of which only those are encoded; they are rows 0 … n − 1 of the table."""
    precomputed = backbone.precomputed(split)
    if precomputed is not None:
        return FeatureTable.of(precomputed.features[rows], device)
    batches = encode(backbone, np.array(split.images[rows]), device, encoding)
    return FeatureTable.of(np.concatenate([batch.features for batch in batches]), device)


def _encode(
    folder: Path,
    content: dict[str, Any],
    backbone: LoadedBackbone,
    split: Split,
    device: torch.device,
    progress: Progress,
    encoding: Encoding,
    what: str,
) -> dict[str, Any]:
    """Make the folder of a table, or go on with what an interrupted attempt left. Returns what its description holds."""
    images = split.images
    # Batches of another size and other devices round otherwise: one table holds features of one kind.
    plan = _hash({**content, "device": device.type, "batch_size": encoding.batch_size})
    with resumable_folder(folder, plan) as unfinished:
        reached = write_features(unfinished, backbone, images, device, encoding, progress, what)
        encoded = {
            "images": len(images),
            "seconds": round(reached.seconds, 3),
            "device": device.type,
            "device_name": device_name(device),
            "precision": encoding.precision,
        }
        about = {**content, "encoded": encoded, "stamp": stamp(unfinished.folder / FEATURES), "crc32": reached.checksum}
        write_atomically(unfinished.folder / ABOUT, _text(about))
    if progress.verbose:
        from .throughput import closing_line

        progress.say(closing_line(backbone, device, encoding.precision, len(images), reached.seconds))
    return about


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _text(about: dict[str, Any]) -> bytes:
    return json.dumps(about, indent=1, sort_keys=True).encode()


def _sound(folder: Path) -> dict[str, Any] | None:
    """The description of a table that is whole; one that was changed since it was written is made again.

    A copied table has another time of modification and the same bytes: then its checksum decides, and the time is noted.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        now, then = stamp(folder / FEATURES), about["stamp"]
        if now == then:
            return about
        if now[0] != then[0] or checksum_of(folder / FEATURES, now[0]) != about["crc32"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    about["stamp"] = now
    with suppress(UserError):  # a cache that cannot be written is read all the same
        write_atomically(folder / ABOUT, _text(about))
    return about
