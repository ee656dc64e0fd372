import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewbench.benchmark import RunConfig
from fewbench.benchmark.pipeline import reproduction
from fewbench.benchmark.published.table import COLUMNS, FILE
from fewbench.benchmark.records.codec import encode_rough
from fewbench.benchmark.records.identity import config_digest
from fewbench.benchmark.records.record import RunRecord, accuracy_section
from fewbench.benchmark.records.store import load_record
from fewbench.benchmark.training.loop.curves import Curves
from fewbench.core.decoding import encode
from fewbench.tasks.testbed import coarsity_summary

FROZEN = Path(__file__).parent / "data" / "record-schema-1.json"
PUBLISHED = {
    "method": "protonet", "backbone": "conv4", "pretraining": "train-classes", "dataset": "mini-imagenet",
    "sampler": "uniform", "ways": "5", "shots": "1", "queries": "15", "accuracy": "49.40", "half_width": "0.78",
    "setting": "inductive", "kind": "paper", "protocol": "", "paper": "1703.05175", "table": "table 2",
    "source": "https://arxiv.org/abs/1703.05175", "printed_method": "ProtoNet", "printed_backbone": "Conv-4",
    "printed_pretraining": "base classes", "printed_dataset": "miniImageNet",
}  # fmt: skip
REPRODUCTION = """
dataset = "{dataset}"

[published]
summary = "ProtoNet on noise"
source = "nobody"
budget = "a second"
differs = "all of it."

[train]
method = "protonet"
ways = 4
queries = 3
steps = 4
halve-every = 2
validate-every = 2
val-episodes = 20
precision = "fp32"
[train.set]
"backbone.width" = 8

[[run]]
ways = 5
shots = 1
queries = 5
episodes = 60
published = 40.0
interval = 3.0

[[run]]
ways = 5
shots = 2
queries = 5
episodes = 60
"""


@pytest.fixture(autouse=True)
def undrawn_curves() -> Iterator[None]:
    """The picture beside a training's checkpoints is empty: drawing it takes longer than the few steps of these tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Curves, "png", lambda curves: b"")
        yield


@pytest.fixture
def config(tiny: str, tiny_weights: Path, tmp_path: Path) -> RunConfig:
    """A quick run of ProtoNet: five whole batches of episodes and a part of one."""
    return RunConfig(
        dataset=tiny, weights=str(tiny_weights), queries=5, episodes=340, results=tmp_path / "results", device="cpu"
    )


@pytest.fixture(scope="session")
def frozen() -> Path:
    """A record of schema version 1, as it was written then."""
    return FROZEN


@pytest.fixture
def record(frozen: Path) -> RunRecord:
    """The frozen record."""
    return load_record(frozen)


@pytest.fixture(scope="session")
def altered() -> Callable[..., RunRecord]:
    """A function that gives a record with other content: sections key by key, all else as a whole."""

    def alter(record: RunRecord, **changes: Any) -> RunRecord:
        content = {**record.content}
        for name, change in changes.items():
            change = encode(change)
            content[name] = {**content[name], **change} if isinstance(change, dict) else change
        return RunRecord.of(content)

    return alter


@pytest.fixture(scope="session")
def make_record(altered):
    """A function that makes a record: the frozen one with other accuracies and with sections changed key by key."""
    frozen = load_record(FROZEN)

    def make(accuracies, name: str = "protonet", status: str = "complete", apart=None, **sections: dict) -> RunRecord:
        sections["method"] = {"name": name, "parameters": {}, "changed": [], **sections.get("method", {})}
        sections = encode(sections)
        digest = config_digest({"status": status, **sections})
        level = sections.get("accuracy", {}).get("level", 0.95)
        without_replacement = None if apart is None else np.array(apart, dtype=float)
        values = np.array(accuracies, dtype=float)
        accuracy = encode(accuracy_section(values, level, without_replacement=without_replacement))
        sections["accuracy"] = {**accuracy, **sections.get("accuracy", {})}
        return altered(frozen, status=status, n_episodes=len(accuracies), config_sha256=digest, **sections)

    return make


@pytest.fixture(scope="session")
def coarse():
    """A function that makes a change to the section `task`: a semantic task with a coarsity for each episode."""

    def change(coarsities, **task) -> dict:
        values = np.array(coarsities, dtype=float)
        parameters = {"alpha": 0.5, "beta": 10.0, "tasks": len(values), "testbed_sha256": "0123456789abcdef" * 4}
        section = {**coarsity_summary(values), "per_episode": encode(encode_rough(values))}
        return {"sampler": "semantic", "sampler_parameters": parameters, "coarsity": section, **task}

    return change


@pytest.fixture
def published_table(tmp_path: Path) -> Callable[..., Path]:
    """Write rows, each given by what differs from `PUBLISHED`, and return the results folder."""

    def written(*rows: dict[str, str]) -> Path:
        with (tmp_path / FILE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([{**PUBLISHED, **row}[name] for name in COLUMNS] for row in rows)
        return tmp_path

    return written


@pytest.fixture
def reproductions(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for reproductions, with one that takes a second: `quick`."""
    folder = tmp_path / "reproductions"
    folder.mkdir()
    (folder / "quick.toml").write_text(REPRODUCTION.format(dataset=tiny), encoding="utf-8")
    monkeypatch.setattr(reproduction, "FOLDER", folder)
    return folder
