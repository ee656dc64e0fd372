"""A class split of a dataset: its images, class by class, and the names that splits have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...core.errors import UsageError, did_you_mean

SPLITS = ("train", "val", "test")


class Images(Protocol):
    """Images of a split, uint8 [n, H, W, C]: an array, or an object that is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C)."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take in memory."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Images by row number, slice or array of row numbers."""
        ...


@dataclass(frozen=True)
class Split:
    """One class split of a dataset, ready to read.

    Attributes:
        dataset: the dataset's name.
        name: train, val or test.
        images: uint8 [n, H, W, C], memory-mapped, rows class by class.
        offsets: int64 [classes + 1], the first row of each class; the last entry is n.
        class_ids: one identifier for each class (WordNet ids, `alphabet/character`, …).
        class_names: one readable name for each class.
        fingerprint: hexadecimal SHA-256 over shape, classes, counts and every image byte, and over the corruption.
        corruption: the corruption of the images as they are read (name, severity, …); None for clean images.
    """

    dataset: str
    name: str
    images: Images
    offsets: np.ndarray
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    fingerprint: str
    corruption: Mapping[str, Any] | None = None

    @property
    def labels(self) -> np.ndarray:
        """The class of each row, int64 [n]."""
        return np.repeat(np.arange(len(self.class_ids)), np.diff(self.offsets))


def split_name(split: str) -> str:
    """Check the name of a class split.

    Raises:
        UsageError: there is no split of that name.
    """
    if split not in SPLITS:
        raise UsageError(f"unknown split '{split}'; {did_you_mean(split, SPLITS)}")
    return split
