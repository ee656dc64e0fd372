from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fewbench.benchmark import RunConfig


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
