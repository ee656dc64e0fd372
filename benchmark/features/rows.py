"""Rows of a table that is larger than memory: read so that what was read before does not count as this process's memory."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator

import numpy as np

from ...core.errors import UserError

CHUNK = 65_536  # rows of a pass over the whole table


class RowFile:
    """Rows of a memory-mapped table [n, D], looked up in its file one by one.

    Through the mapping every row would bring up to 16 pages with it, which stay until all of the table is there, or, if they
    are unmapped each time, cost more than reading: 2,000 episodes of a million rows took 1.6 times as long.
    """

    def __init__(self, features: np.memmap) -> None:
        """Open the file that was mapped."""
        self.features = features
        self.handle = os.open(str(features.filename), os.O_RDONLY)
        weakref.finalize(self, os.close, self.handle)

    @classmethod
    def of(cls, features: np.ndarray) -> RowFile | None:
        """The file of a mapped table; None for other arrays, and on Windows, which lacks such reads."""
        if isinstance(features, np.memmap) and features.filename is not None and hasattr(os, "preadv"):
            return cls(features)
        return None

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows [R], as they are stored, [R, D].

        Raises:
            UserError: the file was cut since it was mapped.
        """
        found = np.empty((len(rows), self.features.shape[1]), self.features.dtype)
        size, into = self.features.strides[0], found.reshape(-1).view(np.uint8).data
        at = 0
        for place in (rows.astype(np.int64) * size + self.features.offset).tolist():
            if os.preadv(self.handle, [into[at : at + size]], place) != size:
                raise UserError(f"cannot read {self.features.filename}: the file was cut; the same command makes it again")
            at += size
        return found


def chunks(features: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows of each part of a table, of which only one is mapped at a time."""
    for start in range(0, len(features), CHUNK):
        yield start, features[start : start + CHUNK]
        # Pages that stay mapped count as this process's memory; the system's cache keeps them. Windows has no such call.
        if isinstance(features.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            features.base.madvise(mmap.MADV_DONTNEED)
