"""How many episodes a second: the sampler, every method, and prototypical networks beside easyfsl's on the same table.

Not part of the ordinary tests, since a busy machine slows it down. From the root of the repository:

    pip install '.[test,peers]'
    python -m pytest tests/speed --override-ini addopts=--import-mode=importlib

The table is made up: 20 classes of 600 images with 640 float32 features. Tasks are 5-way 1-shot with 15 queries a class.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Sampler

from fewbench.benchmark.evaluation.evaluate import Evaluator
from fewbench.benchmark.evaluation.source import Source
from fewbench.benchmark.speed.methods import (
    CLASSES,
    IMAGES,
    QUERIES,
    SHOTS,
    WAYS,
    episodes_a_second,
    made_up_features,
    made_up_source,
    methods_on_features,
)
from fewbench.methods.base import Method
from fewbench.methods.metric.protonet import ProtoNet
from fewbench.tasks.samplers import UniformSampler

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

THREADS = 2
SAMPLER = UniformSampler(np.arange(CLASSES + 1) * IMAGES, seed=0, ways=WAYS, shots=SHOTS, queries=QUERIES)
SAMPLER_AT_LEAST = 200_000  # episodes a second, one thread
EASYFSL_AT_LEAST = 12  # times its speed
ROUNDS = 5  # alternating, the best of each counts: a passing load on the machine then hits neither side alone


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return made_up_features()


@pytest.fixture(scope="module")
def source(features: np.ndarray) -> Source:
    return made_up_source(features)


def evaluate_table(method: Method, source: Source, episodes: int) -> float:
    """Mean accuracy over so many episodes, as a run finds it: draw, look up, classify, score."""
    found = [found for _, found in Evaluator(method, source, "timed").chunks(SAMPLER.batches(0, episodes))]
    return float(np.concatenate(found).mean())


def best_time(benchmark: BenchmarkFixture) -> float:
    """Seconds of the fastest round."""
    return cast(Any, benchmark.stats)["min"]


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.benchmark(timer=time.process_time)  # its one thread's time: other work on the machine does not count
def test_the_sampler(benchmark: BenchmarkFixture, say: Callable[[str], None]):
    episodes = 50_000
    benchmark.pedantic(SAMPLER.draw, args=(0, episodes), rounds=ROUNDS, warmup_rounds=1)
    rate = episodes / best_time(benchmark)
    say(f"sampler: {rate:,.0f} episodes/s on one core")
    assert rate >= SAMPLER_AT_LEAST


@pytest.mark.parametrize("name", methods_on_features())
def test_a_method(name: str, source: Source, say: Callable[[str], None]):
    method = methods_on_features()[name]
    rates = [episodes_a_second(method, source, shots) for shots in (1, 5)]
    say(f"{name}: {rates[0]:,.0f} episodes/s with 1 shot, {rates[1]:,.0f} with 5")


def easyfsl_evaluation(features: np.ndarray, tasks: int) -> Callable[[], float]:
    """Mean accuracy over so many tasks by easyfsl's own evaluation loop, its dataset of features and its sampler."""
    datasets = pytest.importorskip("easyfsl.datasets")
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.samplers import TaskSampler
    from easyfsl.utils import evaluate as evaluate_by_easyfsl

    class AcceptsDataSource(Sampler):
        """Takes the argument that easyfsl 1.5.0 hands to torch's Sampler, which takes none from torch 2.13 on."""

        def __init__(self, data_source: object) -> None:
            super().__init__()

    class TaskSamplerOnAnyTorch(TaskSampler, AcceptsDataSource):
        """easyfsl's sampler, with the class above between it and torch's."""

    labels = np.repeat(np.arange(CLASSES), IMAGES).tolist()
    dataset = datasets.FeaturesDataset(labels, torch.from_numpy(features), [str(c) for c in range(CLASSES)])
    sampler = TaskSamplerOnAnyTorch(dataset, n_way=WAYS, n_shot=SHOTS, n_query=QUERIES, n_tasks=tasks)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    model = PrototypicalNetworks(torch.nn.Identity())
    return lambda: evaluate_by_easyfsl(model, loader, device="cpu", use_tqdm=False)


def test_protonet_beside_easyfsl(features: np.ndarray, source: Source, say: Callable[[str], None]):
    tasks, episodes = 300, 8192
    theirs = easyfsl_evaluation(features, tasks)

    def ours() -> float:
        return evaluate_table(ProtoNet(), source, episodes)

    assert theirs() == pytest.approx(ours(), abs=0.03)  # and both are warm now
    times = [(seconds(theirs) / tasks, seconds(ours) / episodes) for _ in range(ROUNDS)]
    their_time, our_time = np.min(times, axis=0)
    ratio = their_time / our_time
    say(f"ProtoNet: {1 / our_time:,.0f} episodes/s, easyfsl {1 / their_time:,.0f} tasks/s: {ratio:.1f} times as fast")
    assert ratio >= EASYFSL_AT_LEAST
