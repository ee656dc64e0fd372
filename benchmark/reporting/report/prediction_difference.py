"""How far the answers of trainings differ that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....core.errors import UserError
from ...records.predictions import AGAIN, Predictions, load_predictions
from ...records.record import RunRecord
from ...records.statistics import jackknife_half_width
from ...records.trainings import Trainings, trainings_of


class Estimate(NamedTuple):
    """A share, and half the length of its interval for other trainings by the same recipe; None where that is unknown."""

    value: float
    half_width: float | None

    def __str__(self) -> str:
        """In percent."""
        return f"{100 * self.value:.2f}" + ("" if self.half_width is None else f" ± {100 * self.half_width:.2f}")


@dataclass(frozen=True)
class Difference:
    """The difference of the answers of trainings by one recipe.

    Attributes:
        trainings: the trainings.
        accuracy: the mean over trainings.
        confidence: mean probability of the classes that queries are answered with; differences of probabilities grow with it.
        relative: the relative prediction difference.
        churn: share of the queries that two trainings answer with different classes, the mean over all pairs.
    """

    trainings: Trainings
    accuracy: Estimate
    confidence: float
    relative: Estimate
    churn: Estimate


def differences_of(loaded: Sequence[tuple[Path, RunRecord]], level: float = 0.95) -> list[Difference]:
    """The difference of the trainings of each recipe among records that kept their answers.

    Raises:
        UserError: a record of such trainings kept none, or none of the probability of the true class.
    """
    found = []
    for one in trainings_of([record for _, record in loaded], level):
        answers = [load_predictions(*loaded[place]) for place in one.places]
        own = np.stack([_own(mine, loaded[place][0]) for mine, place in zip(answers, one.places, strict=True)])
        predicted = np.stack([mine.predicted for mine in answers])
        accuracy = Estimate(one.interval.mean, one.interval.half_width)
        relative, churned = _estimate(relative_difference, own, level), _estimate(churn, predicted, level)
        confidence = float(np.mean([mine.confidence.mean(dtype=np.float64) for mine in answers]))
        found.append(Difference(one, accuracy, confidence, relative, churned))
    return found


def relative_difference(own: np.ndarray) -> float:
    """The relative prediction difference on the true class (Shamir, Lin and Coviello 2020, arXiv:2010.09931).

    It is the mean over queries of the mean distance of the trainings' probabilities from their own mean, as a share of that.

    Args:
        own: float [trainings, A], probability of each query's true class.
    """
    values = own.astype(np.float64)
    mean = values.mean(axis=0)
    apart = np.abs(values - mean).mean(axis=0)
    return float(np.divide(apart, mean, out=np.zeros_like(mean), where=mean > 0).mean())


def churn(predicted: np.ndarray) -> float:
    """The share of the queries that two trainings answer with different classes, the mean over all pairs.

    Args:
        predicted: int [trainings, A], the class that each query is taken for.
    """
    return float(np.mean([np.mean(one != other) for one, other in combinations(predicted, 2)]))


def _estimate(statistic: Callable[[np.ndarray], float], answers: np.ndarray, level: float) -> Estimate:
    """A statistic of answers [trainings, A]; its interval leaves out each training in turn, which takes three of them."""
    if len(answers) < 3:
        return Estimate(statistic(answers), None)
    left_out = [statistic(np.delete(answers, place, axis=0)) for place in range(len(answers))]
    return Estimate(statistic(answers), jackknife_half_width(left_out, level))


def _own(answers: Predictions, path: Path) -> np.ndarray:
    if answers.own is None:
        raise UserError(f"{path} was made before the probability of the true class was kept; {AGAIN} --overwrite")
    return answers.own
