"""Accuracy by coarsity: a record's episodes in four groups, those with the nearest classes first.

Coarsity is the mean squared distance between the classes of an episode (Bennequin et al. 2022, arXiv:2205.05155).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..records.record import RunRecord
from ..records.statistics import Interval, t_interval

QUARTILES = 4


class Quartile(NamedTuple):
    """The episodes of one quartile of coarsity.

    Attributes:
        coarsity: mean coarsity.
        accuracy: mean accuracy, a fraction, with its t interval at the record's level.
    """

    coarsity: float
    accuracy: Interval


def quartiles(record: RunRecord) -> tuple[Quartile | None, ...]:
    """The record's episodes by quartile of coarsity, the finest first.

    An episode exactly at a quartile belongs below it, so that episodes of equal coarsity stay together.

    Returns:
        Four groups, None for one that ties or few episodes leave empty; () where the record has no coarsity.
    """
    coarsity = record.coarsities
    if coarsity is None:
        return ()
    limits = np.quantile(coarsity, np.arange(1, QUARTILES) / QUARTILES)
    number = np.searchsorted(limits, coarsity, side="left")  # [n], how many limits lie below
    members = [number == quartile for quartile in range(QUARTILES)]
    level = record.accuracy.level
    return tuple(
        Quartile(float(coarsity[chosen].mean()), t_interval(record.accuracies[chosen], level)) if chosen.any() else None
        for chosen in members
    )
