"""The summary of a testbed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import UserError
from ...tasks.testbed import Testbed, coarsity_summary


def describe_testbed(testbed: Testbed, class_ids: tuple[str, ...]) -> dict[str, Any]:
    """A summary of a testbed: number and shape of tasks, occurrences of each class, mean and quartiles of coarsity.

    Raises:
        UserError: the testbed names classes that the split does not have.
    """
    most = int(testbed.episodes.classes.max(initial=-1))
    if most >= len(class_ids):
        raise UserError(f"the testbed names class {most}, this split has {len(class_ids)}; name its --dataset and --split")
    ways, shots, queries = testbed.shape
    occurrences = np.bincount(testbed.episodes.classes.reshape(-1), minlength=len(class_ids))
    return {
        "tasks": len(testbed),
        "ways": ways,
        "shots": shots,
        "queries": queries,
        "parameters": testbed.parameters,
        "seed": testbed.seed,
        "fingerprint": testbed.fingerprint,
        "sha256": testbed.sha256,
        "occurrences": dict(zip(class_ids, occurrences.tolist(), strict=True)),
        "coarsity": coarsity_summary(testbed.coarsity),
    }
