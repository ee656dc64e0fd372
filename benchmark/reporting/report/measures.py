"""The numbers of a report: what follows from the answers of one run, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, spearmanr

from ...records.predictions import Predictions
from ...records.statistics import Interval, t_interval

BINS = 15  # of confidence, as many as Guo et al. take
GROUPS = 10  # of distance and of hardness
WORST = 0.1  # share of the episodes
FEWEST = 5  # episodes on which a share of a pair of classes is given


def of_classes(found: Predictions, classes: int, level: float) -> list[Interval | None]:
    """The accuracy of each class with its t interval over the episodes that ask for it; None where none does.

    The queries of one episode share their support, so that an episode counts once.

    Args:
        found: the answers.
        classes: number of classes of the split.
        level: confidence level.
    """
    episode = np.repeat(np.arange(len(found)), found.queries)
    pairs, place = np.unique(episode * classes + found.true, return_inverse=True)
    means = np.bincount(place, found.credit) / np.bincount(place)
    of = pairs % classes
    per_class = np.split(means[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of, minlength=classes))[:-1])
    return [t_interval(values, level) if len(values) else None for values in per_class]


@dataclass(frozen=True)
class Confusions:
    """How often queries of one class were taken for another of their episode.

    Attributes:
        asked: int64 [C, C], queries of the class of the row in episodes that have the class of the column.
        taken: int64 [C, C], those of them that were answered with the class of the column.
        together: int64 [C, C], number of these episodes.
    """

    asked: np.ndarray
    taken: np.ndarray
    together: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """float64 [C, C], the second as a share of the first; NaN where nothing was asked."""
        return np.divide(self.taken, self.asked, out=np.full(self.asked.shape, np.nan), where=self.asked > 0)

    def most(self, number: int) -> list[tuple[int, int]]:
        """The pairs of classes with the largest shares, of those with enough episodes and at least one confusion."""
        share = np.where((self.together >= FEWEST) & (self.taken > 0), self.share, -1.0).ravel()
        order = np.argsort(-share, kind="stable")[:number]
        return [divmod(int(place), len(self.asked)) for place in order if share[place] > 0]

    def taken_for(self, true: int) -> int | None:
        """The class for which queries of a class were taken most often; None where all were right."""
        return int(self.taken[true].argmax()) if self.taken[true].any() else None


class Groups(NamedTuple):
    """Means of groups of answers along a number.

    Attributes:
        at: float64 [G], mean of the number in each group.
        share: float64 [G], mean of the answers.
    """

    at: np.ndarray
    share: np.ndarray


def by_distance(confusions: Confusions, distances: np.ndarray) -> Groups:
    """The share of queries taken for another class, in groups of about equally many queries along the classes' distance."""
    there = np.flatnonzero(confusions.asked.ravel())
    order = there[np.argsort(distances.ravel()[there], kind="stable")]
    asked, taken, far = (one.ravel()[order].astype(np.float64) for one in (confusions.asked, confusions.taken, distances))
    # Pairs of the same distance stay together: each goes where the middle of all of them is.
    values, place = np.unique(far, return_inverse=True)
    weight = np.bincount(place, asked)
    middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    group = np.minimum((middle * GROUPS).astype(int), GROUPS - 1)[place]
    total = np.bincount(group, asked, GROUPS)
    full = total > 0
    return Groups((np.bincount(group, asked * values[place], GROUPS) / np.maximum(total, 1))[full],
                  (np.bincount(group, taken, GROUPS) / np.maximum(total, 1))[full])  # fmt: skip


def rank_correlation(confusions: Confusions, distances: np.ndarray) -> tuple[float, int] | None:
    """Spearman's rank correlation of distance and confusion over pairs with enough episodes, and the number of pairs.

    Returns:
        None where it is not defined: fewer than three pairs, or all of one distance or confusion.
    """
    enough = (confusions.together >= FEWEST) & (confusions.asked > 0)
    far, share = distances[enough], confusions.share[enough]
    if len(far) < 3 or np.ptp(far) == 0 or np.ptp(share) == 0:
        return None
    return float(spearmanr(far, share)[0]), len(far)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Calibration:
    """How confidence and accuracy go together.

    Attributes:
        confidence: float64 [B], mean confidence of each bin; NaN where it is empty.
        accuracy: float64 [B].
        weight: float64 [B], share of the answers.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    weight: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017, arXiv:1706.04599), 0 to 1."""
        return float(np.nansum(self.weight * np.abs(self.accuracy - self.confidence)))


def calibration_of(found: Predictions) -> Calibration:
    """Calibration in bins of equal width."""
    place = np.clip(np.ceil(found.confidence.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(place, values, BINS) / count for values in (found.confidence, found.credit))
    return Calibration(confidence, accuracy, count / count.sum())


def by_hardness(hardness: np.ndarray, credit: np.ndarray) -> Groups:
    """Accuracy in groups of equally many queries along their hardness."""
    parts = np.array_split(np.argsort(hardness, kind="stable"), min(GROUPS, len(hardness)))
    return Groups(np.array([hardness[part].mean() for part in parts]), np.array([credit[part].mean() for part in parts]))


def told_apart(hardness: np.ndarray, right: np.ndarray) -> float | None:
    """The chance that a wrong answer's query is harder than a right one's (area under the curve); None without both."""
    wrong = int(np.count_nonzero(~right))
    if not 0 < wrong < len(right):
        return None
    ranks = rankdata(hardness)[~right].sum() - wrong * (wrong + 1) / 2
    return float(ranks / (wrong * (len(right) - wrong)))


@dataclass(frozen=True)
class Worst:
    """The tenth of the episodes with the lowest accuracies.

    Attributes:
        episodes: int64 [W], the lowest first.
        mean: of their accuracies.
        classes: classes that they have more often than others, with the share of them that has it and that of all episodes.
    """

    episodes: np.ndarray
    mean: float
    classes: list[tuple[int, float, float]]


def worst_of(found: Predictions, accuracies: np.ndarray, classes: int, most: int = 5) -> Worst:
    """The worst tenth of the episodes, and the classes that they have more often than others."""
    worst = np.argsort(accuracies, kind="stable")[: max(1, round(WORST * len(accuracies)))]
    pairs = np.unique(np.repeat(np.arange(len(found)), found.queries) * classes + found.true)
    episode, true = pairs // classes, pairs % classes
    everywhere = np.bincount(true, minlength=classes) / len(found)
    here = np.bincount(true[np.isin(episode, worst)], minlength=classes) / len(worst)
    order = np.argsort(everywhere - here, kind="stable")[:most]
    often = [(int(one), float(here[one]), float(everywhere[one])) for one in order if here[one] > everywhere[one]]
    return Worst(worst, float(accuracies[worst].mean()), often)
