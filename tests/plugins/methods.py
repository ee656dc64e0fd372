"""Methods from somebody else's file, good and bad."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from fewbench.methods.base import Episodes, Method, class_means, parameter


@dataclass(frozen=True)
class NearestMean(Method):
    """Minus the distance to the class mean, to a power."""

    power: float = parameter(1.0, "exponent of the distance")

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Score: minus a power of the distance."""
        means = class_means(episodes.support, episodes.support_labels, episodes.ways)
        return -(torch.cdist(episodes.query, means) ** self.power)


@dataclass(frozen=True)
class Slow(NearestMean):
    """The same, as slow a batch as the environment says; a file gets one byte a batch."""

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """So many bytes that 64 episodes make a batch."""
        return 2**18

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Sleep, then score."""
        if "SLOW_SECONDS" in os.environ:
            if len(episodes) >= 64:  # the main episodes, not the few disjoint ones after them
                with Path(os.environ["SLOW_FILE"]).open("ab") as file:
                    file.write(b".")
            time.sleep(float(os.environ["SLOW_SECONDS"]))
        return super().classify(episodes)


@dataclass(frozen=True)
class Dies(NearestMean):
    """The same, in a process that is killed when it begins, once: a file says that it was."""

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Die, or score."""
        file = Path(os.environ["DIES_FILE"])
        if not file.exists():
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().classify(episodes)


@dataclass(frozen=True)
class OnImages(Method):
    """Nearest class mean of features that the backbone computes here and now."""

    inputs: ClassVar[Literal["features", "images"]] = "images"

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Encode support and query, then as NearestMean."""
        assert episodes.backbone is not None
        support = episodes.backbone(episodes.support.flatten(0, 1)).unflatten(0, episodes.support.shape[:2])
        query = episodes.backbone(episodes.query.flatten(0, 1)).unflatten(0, episodes.query.shape[:2])
        return -torch.cdist(query, class_means(support, episodes.support_labels, episodes.ways))


@dataclass(frozen=True)
class WrongShape(Method):
    """Returns one score a query."""

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Score: too few."""
        return episodes.query.sum(dim=2)


@dataclass(frozen=True)
class NotANumber(NearestMean):
    """Returns NaN for the last query of the third of every batch of episodes."""

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Score: NaN in one place."""
        scores = super().classify(episodes)
        if len(episodes) >= 64:  # the main episodes, not the few disjoint ones after them
            scores[2, -1, 0] = torch.nan
        return scores


@dataclass(frozen=True)
class Fails(Method):
    """Raises an error of more than one line."""

    def classify(self, episodes: Episodes) -> torch.Tensor:
        """Score: none."""
        raise RuntimeError("no such luck\ntoday")


@dataclass(frozen=True)
class Unfinished(Method):
    """Has no classify."""


class NoMethod:
    """Is no Method at all."""
