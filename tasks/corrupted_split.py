"""A split whose images are corrupted as they are read: the same classes and rows, and so the same episodes, on other pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.cache import digest_of
from ..core.errors import UsageError
from .altered_images import AlteredImages
from .corrupting import corrupt
from .corruptions import VERSION, Corruption
from .datasets.split import Split


@dataclass(frozen=True)
class CorruptedImages(AlteredImages):
    """Corrupted images.

    Attributes:
        corruption: the corruption and its severity.
    """

    corruption: Corruption

    def altered(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Corrupt each image."""
        return corrupt(images, rows, self.corruption)


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
    images = CorruptedImages(split.images, corruption)
    return replace(split, images=images, fingerprint=digest_of(section), corruption=section)
