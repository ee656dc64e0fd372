"""What a run has done so far: accuracies in order, their digest, and the time they took."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...tasks.episodes import EpisodeBatch
from ...tasks.samplers import Sampler
from ..records.codec import decode
from ..records.record import RunRecord

DRAW = 1024  # episodes drawn at a time where only their digest is wanted


@dataclass
class EpisodesDone:
    """Episodes finished so far, in order, with their digest; and those that share no image, which come last.

    Attributes:
        accuracies: of the episodes, in pieces.
        sha: digest of what was drawn for them.
        count: how many they are.
        disjoint: accuracies on episodes that share no image, from the first on.
        classify_seconds: spent on the episodes.
        disjoint_seconds: spent on those that share no image.
        encode_seconds: spent on features.
        total_seconds: of earlier attempts.
    """

    accuracies: list[np.ndarray] = field(default_factory=list)
    sha: Any = field(default_factory=hashlib.sha256)
    count: int = 0
    disjoint: np.ndarray = field(default_factory=lambda: np.empty(0))
    classify_seconds: float = 0.0
    disjoint_seconds: float = 0.0
    encode_seconds: float = 0.0
    total_seconds: float = 0.0

    @classmethod
    def of(cls, record: RunRecord | None) -> EpisodesDone:
        """Start from a partial record (its digest is made again from the sampler), or from nothing."""
        if record is None:
            return cls()
        names = ("classify_seconds", "disjoint_seconds", "encode_seconds", "total_seconds")
        timing = {name: record.timing[name] for name in names}
        section = record.accuracy["without_replacement"]
        disjoint = np.empty(0) if section is None else decode(section["accuracies"])
        return cls([record.accuracies], count=record.n_episodes, disjoint=disjoint, **timing)

    def cut(self, count: int, sampler: Sampler) -> None:
        """Keep the first `count` episodes and make their digest."""
        self.accuracies = [np.concatenate([*self.accuracies, np.empty(0)])[:count]]
        self.sha, self.count = hashlib.sha256(), count
        for start in range(0, count, DRAW):
            self.sha.update(sampler.draw(start, min(start + DRAW, count)).as_bytes())

    def add(self, batch: EpisodeBatch, accuracies: np.ndarray) -> None:
        """Append a chunk."""
        self.accuracies.append(accuracies)
        self.sha.update(batch.as_bytes())
        self.count += len(batch)


def whole_chunks(done: int, wanted: int, chunk: int) -> int:
    """How many of the episodes done are kept: on the fixed grid, a chunk that was cut short is scored again as a whole."""
    return wanted if done >= wanted else done // chunk * chunk


class Clock:
    """Seconds since the last lap, and whether something is due."""

    def __init__(self) -> None:
        """Start now."""
        self.last = self.flushed = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        return seconds

    def due(self, seconds: float) -> bool:
        """Whether so many seconds have passed since this last said so."""
        if time.perf_counter() - self.flushed < seconds:
            return False
        self.flushed = time.perf_counter()
        return True
