"""Tasks of near classes: a testbed that is drawn for the run (Bennequin et al. 2022, arXiv:2205.05155)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.options import parameter
from ...tasks.datasets.base import Dataset
from ...tasks.datasets.split import Split
from ...tasks.semantic import LARGEST_WEIGHT
from ...tasks.testbed import make_testbed
from ...tasks.testbed_sampler import TestbedSampler
from .split_classes import class_distances


@dataclass(frozen=True)
class SemanticSampler(TestbedSampler):
    """Classes that are near each other by the dataset's taxonomy, in as many tasks as the run has.

    Attributes:
        ways: classes a task.
        shots: support images a class.
        queries: query images a class.
    """

    name: ClassVar[str] = "semantic"
    ways: int
    shots: int
    queries: int
    alpha: float = parameter(0.3830, "how much nearness of classes counts; 0 is uniform", minimum=0, maximum=LARGEST_WEIGHT)
    beta: float = parameter(100.0, "how much a class that was drawn often is avoided", minimum=0, maximum=LARGEST_WEIGHT)
    distances: str | None = parameter(None, "CSV matrix, or open_clip:ARCH/TAG, instead of the dataset's taxonomy")

    @classmethod
    def over(cls, dataset: Dataset, split: Split, *, episodes: int, **fields: Any) -> SemanticSampler:
        """Draw the testbed.

        Raises:
            UsageError: the split is too small for the episodes asked for.
            UserError: the dataset has no taxonomy, or the distances do not fit it.
        """
        matrix = class_distances(dataset, split.name, split.class_ids, np.diff(split.offsets), fields["distances"])
        drawn_with = {name: fields[name] for name in ("ways", "shots", "queries", "alpha", "beta", "seed")}
        testbed = make_testbed(
            split.offsets,
            matrix,
            tasks=episodes,
            dataset=split.dataset,
            split=split.name,
            fingerprint=split.fingerprint,
            **drawn_with,
        )
        return cls(offsets=split.offsets, testbed=testbed, **fields)
