"""Images that are altered whenever they are read, and not stored: corrupted ones, views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from .datasets.split import Images


@dataclass(frozen=True)
class AlteredImages(ABC):
    """What corrupted images and views have in common.

    Attributes:
        stored: uint8 [n, H, W, C], often memory-mapped.
    """

    stored: Images

    @abstractmethod
    def altered(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Alter images, each by its row alone.

        Args:
            images: uint8 [k, H, W, C], as they are stored.
            rows: int [k], their rows.

        Returns:
            uint8 [k, H, W, C], a new array.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C)."""
        return self.stored.shape

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take in memory."""
        return self.stored.nbytes

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        """Index the first axis: uint8 [H, W, C] for one row, [k, H, W, C] for several."""
        wanted = np.arange(len(self.stored))[rows]
        flat = np.atleast_1d(wanted)
        images = self.altered(self.stored[flat], flat)
        return images if wanted.ndim else images[0]
