from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewbench.benchmark.record_codec import encode_rough
from fewbench.benchmark.records import RunRecord, accuracy_section, config_digest, load_record
from fewbench.tasks.testbed import coarsity_summary

FROZEN = Path(__file__).parent.parent / "data" / "record-schema-1.json"


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
