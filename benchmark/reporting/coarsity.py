"""Accuracy by coarsity: a record's episodes in four groups, from those with the nearest classes to those with the farthest.

Coarsity is the mean squared distance between the classes of an episode (Bennequin et al. 2022, arXiv:2205.05155).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...tasks.errors import UserError
from ..record_codec import decode_rough
from ..records import RunRecord
from ..statistics import Interval, t_interval

QUARTILES = 4


class Quartile(NamedTuple):
    """The episodes of one quartile of coarsity.

    Attributes:
        coarsity: their mean coarsity.
        accuracy: mean accuracy, a fraction, with its t interval at the record's level.
    """

    coarsity: float
    accuracy: Interval


def coarsities(record: RunRecord) -> np.ndarray | None:
    """float64 [n_episodes], the coarsity of each episode; None where the task has none or the record is older than that.

    Raises:
        UserError: they are damaged.
    """
    section = record.task.get("coarsity")
    if section is None:
        return None
    try:
        found = decode_rough(section["per_episode"])
        if len(found) != record.n_episodes or not np.isfinite(found).all():
            raise ValueError(f"it does not have a finite coarsity for each of its {record.n_episodes} episodes")
    except (KeyError, TypeError, ValueError) as error:
        run = f"{record.method_name} on {record.task['dataset']}, configuration {record.config_sha256[:8]}"
        raise UserError(f"the coarsities in the record of {run} are damaged: {error}; repeat the run") from error
    return found


def quartiles(record: RunRecord) -> tuple[Quartile | None, ...]:
    """The record's episodes by quartile of coarsity, the finest first.

    An episode at a quartile belongs below it, so that episodes of equal coarsity stay together.

    Returns:
        Four groups, None in the place of one that ties or few episodes leave empty; nothing where the record has no coarsity.

    Raises:
        UserError: the coarsities are damaged.
    """
    coarsity = coarsities(record)
    if coarsity is None:
        return ()
    limits = np.quantile(coarsity, np.arange(1, QUARTILES) / QUARTILES)
    number = np.searchsorted(limits, coarsity, side="left")  # [n], how many limits lie below
    members = [number == quartile for quartile in range(QUARTILES)]
    level = record.accuracy["level"]
    return tuple(
        Quartile(float(coarsity[chosen].mean()), t_interval(record.accuracies[chosen], level)) if chosen.any() else None
        for chosen in members
    )
