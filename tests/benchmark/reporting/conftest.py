from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fewbench.benchmark.published.number import PublishedNumber
from fewbench.benchmark.records.record import RunRecord
from fewbench.benchmark.reporting.board import GROUPINGS, Board, boards_of

PUBLISHED = {
    "method": "protonet", "backbone": "conv4", "pretraining": "train-classes", "dataset": "omniglot", "sampler": "uniform",
    "ways": "5", "shots": "1", "queries": "", "accuracy": "98.8", "half_width": "", "setting": "inductive", "kind": "paper",
    "protocol": "", "paper": "1703.05175", "table": "table 1", "source": "https://arxiv.org/abs/1703.05175",
    "printed_method": "ProtoNet", "printed_backbone": "Conv-4", "printed_pretraining": "", "printed_dataset": "Omniglot",
}  # fmt: skip
TRAINED = {"dataset": "omniglot", "recipe": "supervised", "external": False}
META_TRAINED = {"dataset": "omniglot", "recipe": "protonet 5-way 1-shot", "external": False, "steps": 9}


@pytest.fixture(scope="session")
def boards() -> Callable[..., list[Board]]:
    """A function that makes the boards of records; record i is in the file `i.json`."""

    def make(records: Sequence[RunRecord], group_by: str = "backbone") -> list[Board]:
        return boards_of([(Path(f"{i}.json"), record) for i, record in enumerate(records)], GROUPINGS[group_by])

    return make


@pytest.fixture(scope="session")
def published() -> Callable[..., PublishedNumber]:
    """A function that makes a published number, given by what differs from `PUBLISHED`."""

    def make(**row: str) -> PublishedNumber:
        return PublishedNumber.of({**PUBLISHED, **row})

    return make


@pytest.fixture(scope="session")
def trained(make_record) -> Callable[..., RunRecord]:
    """A function that makes a record of a network that was trained on omniglot, with labels or on episodes."""

    def make(accuracies, name: str = "protonet", meta: bool = True, weights: str = "a", **sections) -> RunRecord:
        backbone = {"pretraining": META_TRAINED if meta else TRAINED, "weights": weights, "weights_sha256": weights * 64}
        sections["backbone"] = {**backbone, **sections.get("backbone", {})}
        return make_record(accuracies, name=name, **sections)

    return make
