"""How far the answers of trainings differ that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ....core.errors import UserError
from ...records.predictions import AGAIN, Predictions, load_predictions
from ...records.record import RunRecord
from ...records.trainings import Trainings, trainings_of


@dataclass(frozen=True)
class Difference:
    """The difference of the answers of trainings by one recipe.

    Attributes:
        trainings: the trainings, with the interval of their accuracy.
        relative: the relative prediction difference.
        churn: share of the queries that two trainings answer with different classes, the mean over all pairs.
    """

    trainings: Trainings
    relative: float
    churn: float


def differences_of(loaded: Sequence[tuple[Path, RunRecord]], level: float = 0.95) -> list[Difference]:
    """The difference of the trainings of each recipe among records that kept their answers.

    Raises:
        UserError: a record of such trainings kept none, or none of the probability of the true class.
    """
    found = []
    for one in trainings_of([record for _, record in loaded], level):
        answers = [load_predictions(*loaded[place]) for place in one.places]
        own = np.stack([_own(mine, loaded[place][0]) for mine, place in zip(answers, one.places, strict=True)])
        found.append(Difference(one, relative_difference(own), churn(answers)))
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


def churn(answers: Sequence[Predictions]) -> float:
    """The share of the queries that two runs answer with different classes, the mean over all pairs of runs."""
    return float(np.mean([np.mean(one.predicted != other.predicted) for one, other in combinations(answers, 2)]))


def _own(answers: Predictions, path: Path) -> np.ndarray:
    if answers.own is None:
        raise UserError(f"{path} was made before the probability of the true class was kept; {AGAIN} --overwrite")
    return answers.own
