"""The accuracies of a run's episodes while they come in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Series:
    """Accuracies of episodes in their order, as far as they are done.

    Attributes:
        held: float64, the first `n` of them, and room for more: small arrays that stay would keep the memory between them, too.
        n: how many episodes are done.
        seconds: spent on them, in all attempts.
    """

    held: np.ndarray
    n: int
    seconds: float = 0.0

    @classmethod
    def of(cls, accuracies: np.ndarray, seconds: float = 0.0) -> Series:
        """A series that begins with accuracies, float64 [n]."""
        return cls(accuracies, len(accuracies), seconds)

    def __len__(self) -> int:
        """How many episodes are done."""
        return self.n

    @property
    def accuracies(self) -> np.ndarray:
        """float64 [n]."""
        return self.held[: self.n]

    def make_room(self, total: int) -> None:
        """Make room for so many episodes in all."""
        if len(self.held) < total or not self.held.flags.writeable:
            self.held = np.concatenate([self.accuracies, np.empty(max(0, total - self.n))])

    def add(self, accuracies: np.ndarray, seconds: float) -> None:
        """Put the next accuracies, float64 [k], into the room that is there."""
        self.held[self.n : self.n + len(accuracies)] = accuracies
        self.n += len(accuracies)
        self.seconds += seconds

    def cut(self, wanted: int, chunk: int) -> None:
        """Keep whole chunks of the fixed grid: one that was cut short is scored again as a whole."""
        self.n = wanted if self.n >= wanted else self.n // chunk * chunk
