"""A table of a million rows, which on the disk is 1.28 GB (here a hole in a file), is never in memory as a whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.source import Source
from fewbench.benchmark.features.table import IN_MEMORY, FeatureTable
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.samplers import UniformSampler

CLASSES, IMAGES, WIDTH = 1000, 1000, 640
EPISODES = 2000
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEGABYTE = 2**20


def status(name: str) -> int:
    """A line of the process's status, in bytes: VmRSS is what it has in memory, VmHWM the most it had."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


@pytest.fixture
def reset_peak() -> None:
    try:
        CLEAR.write_text("5")
    except OSError:
        pytest.skip("this system does not let a process reset its peak of memory")


def test_a_million_rows_evaluate_without_being_held(tmp_path: Path, reset_peak: None):
    features = np.lib.format.open_memmap(tmp_path / "table.npy", mode="w+", dtype=np.float16, shape=(CLASSES * IMAGES, WIDTH))
    features[:, 0].reshape(CLASSES, IMAGES)[::100] = 1  # of ten classes; a page for each row, so not of all
    features.flush()
    del features
    features = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert features.nbytes > IN_MEMORY
    sampler = UniformSampler(np.arange(CLASSES + 1) * IMAGES, seed=0, ways=5, shots=1, queries=15)
    CLEAR.write_text("5")
    before = status("VmRSS")
    cpu = torch.device("cpu")
    source = Source(cpu, table=FeatureTable.of(features, cpu))
    accuracies = [found for _, found in Evaluator(ProtoNet(), source, "protonet").chunks(sampler.batches(0, EPISODES))]
    assert 0.2 < np.concatenate(accuracies).mean() < 0.25
    assert source.table is not None and source.table.mean()[0] == pytest.approx(0.01)
    assert status("VmHWM") - before < 350 * MEGABYTE
    (tmp_path / "table.npy").unlink()
