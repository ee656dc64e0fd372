from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark import RunConfig
from fewbench.benchmark.records.codec import encode_rough
from fewbench.benchmark.records.record import RunRecord, accuracy_section, config_digest, load_record
from fewbench.tasks.testbed import coarsity_summary

FROZEN = Path(__file__).parent / "data" / "record-schema-1.json"


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring on networks and tensors as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tiny: str, tiny_weights: Path, tmp_path: Path) -> RunConfig:
    """A quick run of ProtoNet: five whole batches of episodes and a part of one."""
    return RunConfig(
        dataset=tiny, weights=str(tiny_weights), queries=5, episodes=340, output=tmp_path / "results", device="cpu"
    )


@pytest.fixture
def make_record():
    """A function that makes a record: the frozen one with other accuracies and with sections changed key by key."""
    frozen = load_record(FROZEN)

    def make(accuracies, name: str = "protonet", status: str = "complete", **sections: dict) -> RunRecord:
        sections["method"] = {"name": name, "parameters": {}, "changed": [], **sections.get("method", {})}
        digest = config_digest({"status": status, **sections})
        sections["accuracy"] = {**accuracy_section(np.array(accuracies, dtype=float)), **sections.get("accuracy", {})}
        changed = {section: {**getattr(frozen, section), **change} for section, change in sections.items()}
        return replace(frozen, status=status, n_episodes=len(accuracies), config_sha256=digest, **changed)

    return make


@pytest.fixture
def coarse():
    """A function that makes a change to the section `task`: a semantic task with a coarsity for each episode."""

    def change(coarsities, **task) -> dict:
        values = np.array(coarsities, dtype=float)
        parameters = {"alpha": 0.5, "beta": 10.0, "tasks": len(values), "testbed_sha256": "0123456789abcdef" * 4}
        section = {**coarsity_summary(values), "per_episode": encode_rough(values)}
        return {"sampler": "semantic", "sampler_parameters": parameters, "coarsity": section, **task}

    return change
