"""Testbeds as samplers, so that whatever runs on drawn episodes runs on a fixed list of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..core.errors import UsageError
from .episodes import EpisodeBatch
from .samplers import Sampler
from .testbed import Testbed


@dataclass(frozen=True)
class TestbedSampler(Sampler):
    """The tasks of a testbed, in its order. The seed is that of the methods' randomness alone.

    Attributes:
        testbed: tasks with images of this split.
    """

    name: ClassVar[str] = "testbed"
    of_one_split: ClassVar[bool] = True
    testbed: Testbed

    @property
    def most(self) -> int:
        """The number of tasks."""
        return len(self.testbed)

    @property
    def parameters(self) -> dict[str, Any]:
        """The testbed's hash and what it was drawn with."""
        return {"testbed_sha256": self.testbed.sha256, "tasks": len(self.testbed), **self.testbed.parameters}

    def check(self) -> None:
        """Refuse a testbed without images or of another split."""
        if self.testbed.classes_only:
            raise UsageError("--testbed: this one lists classes only; make one with images to run on it")
        self.testbed.check_fits(self.offsets)

    def coarsity(self, count: int) -> np.ndarray:
        """float64 [count], of the first tasks."""
        return self.testbed.coarsity[:count]

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """The tasks `start` to `stop`."""
        if stop > len(self.testbed):
            raise UsageError(f"--episodes {stop}: the testbed has only {len(self.testbed)} tasks; ask for fewer episodes")
        return self.testbed.episodes[start:stop]
