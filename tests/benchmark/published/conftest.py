"""A table of published numbers in a results folder."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from fewbench.benchmark.published.table import COLUMNS, FILE

ROW = {
    "method": "protonet", "backbone": "conv4", "pretraining": "train-classes", "dataset": "mini-imagenet",
    "sampler": "uniform", "ways": "5", "shots": "1", "queries": "15", "accuracy": "49.40", "half_width": "0.78",
    "setting": "inductive", "kind": "paper", "protocol": "", "paper": "1703.05175", "table": "table 2",
    "source": "https://arxiv.org/abs/1703.05175", "printed_method": "ProtoNet", "printed_backbone": "Conv-4",
    "printed_pretraining": "base classes", "printed_dataset": "miniImageNet",
}  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write rows, each given by what differs from `ROW`, and return the results folder."""

    def written(*rows: dict[str, str]) -> Path:
        with (tmp_path / FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([{**ROW, **row}[name] for name in COLUMNS] for row in rows)
        return tmp_path

    return written
