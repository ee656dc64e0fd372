from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.reporting.leaderboard import Boards
from fewbench.benchmark.reporting.quotes import quotes_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & --></style>"


@pytest.fixture(scope="session")
def found(boards) -> Callable[..., Boards]:
    """A function that makes the boards of records, with published numbers beside them."""

    def make(records: Sequence[RunRecord], numbers=()) -> Boards:
        made = boards(records)
        return Boards(tuple(zip(made, quotes_of(made, numbers), strict=True)))

    return make


@pytest.fixture(scope="session")
def few(make_record, trained, coarse) -> list[RunRecord]:
    """Records of several datasets, methods and kinds of tasks, and two whose texts are hostile."""

    def accuracies(mean: float) -> np.ndarray:
        return np.clip(mean + 0.01 * np.sin(np.arange(60)), 0, 1)

    sized = {"network_parameters": 111936, "name": "conv4"}
    larger = {"network_parameters": 12_424_320, "name": "resnet12", "weights": "b", "weights_sha256": "b" * 64}
    records = [
        trained(accuracies(mean), name=name, backbone=backbone, task={"dataset": "omniglot", "shots": shots})
        for name, backbone, shots, mean in (
            ("protonet", sized, 1, 0.6),
            ("protonet", sized, 5, 0.8),
            ("ridge", sized, 1, 0.65),
            ("ridge", sized, 5, 0.75),
            ("simpleshot", larger, 1, 0.7),
            ("clip-zero-shot", sized, 1, 0.5),
        )
    ]
    records += [
        make_record(accuracies(0.5), name=name, task=coarse(range(60), dataset="mini-imagenet"))
        for name in ("protonet", "PROTONET")
    ]
    records += [
        make_record(
            accuracies(0.4),
            name=f"{HOSTILE}{number}",
            method={"parameters": {HOSTILE: HOSTILE}, "changed": [HOSTILE], "distribution": HOSTILE},
            backbone={"name": HOSTILE, "weights": HOSTILE, "network_parameters": 1000 * number},
            task={"dataset": HOSTILE, "shots": number},
            argv=["bench", "run", "--method", HOSTILE],
        )
        for number in (1, 2)
    ]
    return records
