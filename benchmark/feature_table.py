"""The feature table: every image of a split encoded once, cached on disk, memory-mapped.

The cache key holds everything that changes a feature, so a table is never stale: at worst it is unused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..tasks.datasets.base import Split
from ..tasks.datasets.store import stamp
from ..tasks.files import cache_root, folder_at_once, remove_folder
from ..tasks.progress import Progress
from .backbones import encoding
from .backbones.loading import LoadedBackbone
from .records import file_safe

FEATURES, ABOUT = "features.npy", "features.json"
IN_MEMORY = 2**30  # bytes; a larger table is read from the disk, episode by episode


@dataclass(frozen=True)
class FeatureTable:
    """Features of one split.

    Attributes:
        features: float32 [n, D], memory-mapped.
        device: where episodes are wanted.
        resident: the same on `device`, when it is small enough to be held there.
    """

    features: np.ndarray
    device: torch.device
    resident: Tensor | None

    @classmethod
    def of(cls, features: np.ndarray, device: torch.device) -> FeatureTable:
        """A table of features [n, D], held on the device where it is small enough."""
        resident = torch.from_numpy(np.array(features)).to(device) if features.nbytes <= IN_MEMORY else None
        return cls(features, device, resident)

    def gather(self, rows: np.ndarray) -> Tensor:
        """The features of rows [E, R], as float32 [E, R, D] on the device."""
        if self.resident is None:
            return torch.from_numpy(self.features[rows.reshape(-1)]).to(self.device).view(*rows.shape, -1)
        index = torch.from_numpy(rows.reshape(-1)).to(self.device)
        return self.resident.index_select(0, index).view(*rows.shape, -1)

    def mean(self) -> Tensor:
        """float32 [D], the mean feature."""
        total = np.zeros(self.features.shape[1])
        for start in range(0, len(self.features), 65_536):
            total += self.features[start : start + 65_536].sum(axis=0, dtype=np.float64)
        return torch.from_numpy((total / len(self.features)).astype(np.float32)).to(self.device)


def key(backbone: LoadedBackbone, split: Split) -> dict[str, Any]:
    """Everything that changes a feature."""
    return {
        "fingerprint": split.fingerprint,
        "split": split.name,
        "backbone": backbone.name,
        "parameters": backbone.parameters,
        "weights": backbone.weights_sha256,
        "preprocess": asdict(backbone.preprocess),
        "precision": "fp32",
        "code": [encoding.VERSION, backbone.source_sha256],
    }


def feature_table(
    backbone: LoadedBackbone, split: Split, device: torch.device, progress: Progress
) -> tuple[FeatureTable, bool]:
    """Open the table of a split, or encode it first. Two runs that encode the same table at once do not disturb each other.

    Returns:
        The table, and whether it was in the cache.
    """
    content = key(backbone, split)
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache_root() / "features" / f"{split.dataset}-{split.name}-{file_safe(backbone.name)}-{name}"
    cached = _sound(folder)
    if not cached:
        remove_folder(folder)
        with folder_at_once(folder) as temporary:
            shape = (len(split.images), backbone.feature_dim)
            out = np.lib.format.open_memmap(temporary / FEATURES, mode="w+", dtype=np.float32, shape=shape)
            encoding.encode(backbone, split.images, out, device, progress, f"encoding {split.dataset} {split.name}")
            out.flush()
            del out
            about = {**content, "stamp": stamp(temporary / FEATURES)}
            (temporary / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True), encoding="utf-8")
    return FeatureTable.of(np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False), device), cached


def _sound(folder: Path) -> bool:
    """Whether a cached table is whole and untouched since it was written; one that was touched is made again."""
    try:
        return json.loads((folder / ABOUT).read_text(encoding="utf-8"))["stamp"] == stamp(folder / FEATURES)
    except (OSError, ValueError, KeyError, TypeError):
        return False
