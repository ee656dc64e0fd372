"""A split whose images are corrupted as they are read: the same classes and rows, and so the same episodes, on other pixels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import UsageError
from .corrupting import corrupt
from .corruptions import VERSION, Corruption
from .datasets.base import Images, Split


@dataclass(frozen=True)
class CorruptedImages:
    """Images that are corrupted whenever they are read, and not stored.

    Attributes:
        clean: uint8 [n, H, W, C], often memory-mapped.
        corruption: the corruption and its severity.
    """

    clean: Images
    corruption: Corruption

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C)."""
        return self.clean.shape

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take in memory."""
        return self.clean.nbytes

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Index the first axis: uint8 [H, W, C] for one row, [k, H, W, C] for several."""
        wanted = np.arange(len(self.clean))[rows]
        images = corrupt(self.clean[np.atleast_1d(wanted)], np.atleast_1d(wanted), self.corruption)
        return images if wanted.ndim else images[0]


def corrupted(split: Split, corruption: Corruption | None) -> Split:
    """A split with corrupted images and a fingerprint of its own; the split itself where `corruption` is None.

    Raises:
        UsageError: the corruption removes colour, and the images have none.
    """
    if corruption is None:
        return split
    if corruption.name == "grey" and split.images.shape[3] == 1:
        raise UsageError(f"--corruption grey: the images of {split.dataset} have no colour; take another corruption")
    said = {"name": corruption.name, "severity": corruption.severity, "version": VERSION}
    section = {**said, "clean_fingerprint": split.fingerprint}
    fingerprint = hashlib.sha256(json.dumps(section, sort_keys=True).encode()).hexdigest()
    return replace(split, images=CorruptedImages(split.images, corruption), fingerprint=fingerprint, corruption=section)
