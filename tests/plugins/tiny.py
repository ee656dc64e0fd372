"""A dataset small enough to be made anew in every test: each class is a pattern of its own under noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from fewbench.core.options import parameter
from fewbench.core.progress import Progress
from fewbench.tasks.datasets.base import Contents, Dataset
from fewbench.tasks.datasets.split import SPLITS

IMAGES_A_CLASS = 30


@dataclass(frozen=True)
class Tiny(Dataset):
    """Noisy patterns of 16 × 16 pixels."""

    noise: float = parameter(60.0, "deviation of the noise in grey levels")

    name: ClassVar[str] = "tiny"
    version: ClassVar[str] = "1"
    citation: ClassVar[str] = "made for the tests"
    licence: ClassVar[str] = "Apache-2.0"
    homepage: ClassVar[str] = "https://example.org"
    made_here: ClassVar[bool] = True

    def class_list(self, split: str) -> list[tuple[str, str]]:
        """Twelve classes a split."""
        return [(f"{split}-{number}", f"{split} pattern {number}") for number in range(12)]

    def contents(self, split: str, source: Path | None, progress: Progress) -> Contents:
        """Patterns and noise from a generator seeded with the split's number."""
        classes = self.class_list(split)

        def fill(images: np.ndarray, progress: Progress) -> None:
            random = np.random.default_rng(SPLITS.index(split))
            patterns = random.uniform(0, 255, size=(len(classes), 1, 4, 4, 3)).repeat(4, axis=2).repeat(4, axis=3)
            noisy = patterns + random.normal(scale=self.noise, size=(len(classes), IMAGES_A_CLASS, 16, 16, 3))
            images[:] = noisy.clip(0, 255).reshape(images.shape)

        identifiers, names = zip(*classes, strict=True)
        return Contents(identifiers, names, [IMAGES_A_CLASS] * len(classes), (16, 16, 3), fill)
