"""Who is better than whom: paired comparison of two records, and the ranks that all pairs of a table leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ...core.errors import UserError
from .identity import same_episodes, task_of
from .record import RunRecord
from .statistics import PairedDifference, holm, paired_difference, paired_p_values

LEVEL = 0.95  # of a table: the chance that any two of its methods are falsely told apart is at most 1 − LEVEL


@dataclass(frozen=True)
class RankRange:
    """The ranks that a method may hold, 1 being the best."""

    best: int
    worst: int

    def __str__(self) -> str:
        """`1`, or `2–3` where the data leave several open."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def compare_records(a: RunRecord, b: RunRecord, level: float = 0.95) -> PairedDifference:
    """Paired difference a − b over the episodes that both runs have.

    Raises:
        UserError: the records are of different tasks, or drew different episodes.
        UsageError: the level is not between 0 and 1.
    """
    different = task_of(a).differences(task_of(b))
    if different:
        raise UserError(f"these records are of different tasks: {'; '.join(different)}; compare runs of one task")
    if not same_episodes([a, b]):
        raise UserError("these records drew different episodes (episodes_sha256); repeat the older run with this fewbench")
    common = min(a.n_episodes, b.n_episodes)
    return paired_difference(a.accuracies[:common], b.accuracies[:common], level)


def better_than(accuracies: Sequence[np.ndarray], level: float = LEVEL) -> np.ndarray:
    """Compare all pairs of methods by paired t-tests, adjusted by Holm's procedure over the pairs.

    Args:
        accuracies: K arrays, float [n_k]; entry i of each is the same episode. A pair is compared on the first min(n) of them.
        level: one minus the family-wise error rate.

    Returns:
        bool [K, K]; entry [i, j] says whether method i is significantly better than method j.
    """
    count = len(accuracies)
    pairs = np.array(list(combinations(range(count), 2)), dtype=np.int64).reshape(-1, 2)
    moments = np.array([_moments(accuracies[i], accuracies[j]) for i, j in pairs]).reshape(-1, 3)
    means, deviations, n = moments.T
    significant = holm(paired_p_values(means, deviations, n)) < 1 - level
    better = np.zeros((count, count), dtype=bool)
    first = np.where(means > 0, pairs[:, 0], pairs[:, 1])[significant]
    second = np.where(means > 0, pairs[:, 1], pairs[:, 0])[significant]
    better[first, second] = True
    return better


def rank_ranges(better: np.ndarray) -> list[RankRange]:
    """Rank methods by who is better than whom.

    A method's best rank is one more than the number of methods that are significantly better; its worst rank is the number of
    methods minus those that are significantly worse.

    Args:
        better: bool [K, K], as `better_than` gives it.

    Returns:
        K ranges, in the order given.
    """
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [RankRange(1 + int(a), len(better) - int(b)) for a, b in zip(above, below, strict=True)]


def _moments(a: np.ndarray, b: np.ndarray) -> tuple[float, float, int]:
    """Mean, sample deviation and number of the paired differences over the common prefix."""
    n = min(len(a), len(b))
    difference = a[:n] - b[:n]
    return difference.mean(), difference.std(ddof=1) if n > 1 else np.nan, n
