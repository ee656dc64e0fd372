"""Testbeds as samplers, so that a run can use a fixed list of tasks like drawn episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..core.errors import UsageError
from ..core.options import Settings
from .episodes import EpisodeBatch
from .samplers import Sampler
from .testbed import Testbed


@dataclass(frozen=True)
class TestbedSampler(Sampler):
    """The tasks of a testbed, in order. The seed only affects the methods' own random numbers.

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
    def parameters(self) -> Settings:
        """The testbed's hash, number of tasks, and parameters of its drawing."""
        return {"testbed_sha256": self.testbed.sha256, "tasks": len(self.testbed), **self.testbed.parameters}

    def check(self) -> None:
        """Check that the testbed has images, and that they belong to this split."""
        if self.testbed.classes_only:
            raise UsageError("--testbed: this one lists classes only; make one with images to run on it")
        self.testbed.check_fits(self.offsets)

    def coarsity(self, count: int) -> np.ndarray:
        """Coarsity of the first tasks, float64 [count]."""
        return self.testbed.coarsity[:count]

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Return the tasks `start` to `stop`.

        Raises:
            UsageError: the testbed has fewer tasks.
        """
        if stop > len(self.testbed):
            raise UsageError(f"--episodes {stop}: the testbed has only {len(self.testbed)} tasks; ask for fewer episodes")
        return self.testbed.episodes[start:stop]
