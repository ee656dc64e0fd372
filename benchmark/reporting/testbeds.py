"""The summary of a testbed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.errors import UserError
from ...tasks.testbed import CoarsitySummary, Testbed, coarsity_summary


@dataclass(frozen=True)
class Summary:
    """A summary of a testbed.

    Attributes:
        tasks: number of tasks.
        ways: classes of a task; like shots and queries the largest number where tasks differ.
        shots: support images of a class.
        queries: query images of a class.
        parameters: of the drawing.
        seed: of the drawing.
        fingerprint: of the split.
        sha256: over the drawn indices.
        occurrences: of each class.
        coarsity: mean and quartiles.
    """

    tasks: int
    ways: int
    shots: int
    queries: int
    parameters: Mapping[str, float]
    seed: int | None
    fingerprint: str | None
    sha256: str
    occurrences: dict[str, int]
    coarsity: CoarsitySummary


def describe_testbed(testbed: Testbed, class_ids: tuple[str, ...]) -> Summary:
    """Summarise a testbed.

    Raises:
        UserError: the testbed names classes that the split does not have.
    """
    most = int(testbed.episodes.classes.max(initial=-1))
    if most >= len(class_ids):
        raise UserError(f"the testbed names class {most}, this split has {len(class_ids)}; name its --dataset and --split")
    counts = np.bincount(testbed.episodes.classes.reshape(-1), minlength=len(class_ids))
    return Summary(
        len(testbed),
        *testbed.shape,
        parameters=testbed.parameters,
        seed=testbed.seed,
        fingerprint=testbed.fingerprint,
        sha256=testbed.sha256,
        occurrences=dict(zip(class_ids, counts.tolist(), strict=True)),
        coarsity=coarsity_summary(testbed.coarsity),
    )
