"""Several trainings of one recipe: how far accuracies vary with the seed of the training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .identity import answerer_of, task_of
from .record import RunRecord
from .statistics import Interval, t_interval

OF_SEEDS = ("backbone.weights_sha256", "method.learned_sha256")  # what another seed changes of an answerer


@dataclass(frozen=True)
class Trainings:
    """Records that differ in nothing but the seed of their training.

    Attributes:
        places: of the records among those given, in the order of their seeds.
        seeds: of the trainings.
        interval: t interval of the mean accuracy over trainings. It is about another training by the same recipe, on the
            episodes of the records.
        lowest: mean accuracy of the worst training.
        highest: mean accuracy of the best training.
    """

    places: tuple[int, ...]
    seeds: tuple[int, ...]
    interval: Interval
    lowest: float
    highest: float


def trainings_of(records: Sequence[RunRecord], level: float = 0.95) -> list[Trainings]:
    """Find the trainings of one recipe among records, where there are two or more.

    Of one training the first record counts. Records whose weights do not say their seed belong to none.

    Args:
        records: of any tasks.
        level: confidence level of the intervals.
    """
    groups: dict[object, dict[int, int]] = defaultdict(dict)
    for place, record in enumerate(records):
        seen = record.backbone.pretraining
        if seen is not None and seen.seed is not None and seen.options_sha256 is not None:
            recipe = (task_of(record), record.n_episodes, answerer_of(record, but=OF_SEEDS), seen.options_sha256)
            groups[recipe].setdefault(seen.seed, place)
    found = []
    for by_seed in groups.values():
        if len(by_seed) > 1:
            seeds = tuple(sorted(by_seed))
            places = tuple(by_seed[seed] for seed in seeds)
            means = np.array([records[place].mean for place in places])
            found.append(Trainings(places, seeds, t_interval(means, level), float(means.min()), float(means.max())))
    return found
