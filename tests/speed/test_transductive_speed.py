"""Transductive methods beside easyfsl's, with the same numbers of steps, on the same features in memory.

Both time the scores alone, without drawing episodes and looking their rows up. The time is that of one thread's work, so that
other work on the machine counts little. As test_speed.py, this is not part of the ordinary tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from fewbench.methods.base import Method
from fewbench.methods.transductive.bd_cspn import BDCSPN
from fewbench.methods.transductive.laplacian_shot import LaplacianShot
from fewbench.methods.transductive.pt_map import PTMAP
from fewbench.methods.transductive.tim import TIM
from fewbench.methods.transductive.transductive_finetuning import TransductiveFinetuning
from fewbench.tasks.episodes import Episodes

WAYS, QUERIES, WIDTH, TASKS = 5, 15, 640, 4
EPISODES = {"tim adm": 128, "tim gd": 32, "transductive-finetuning": 32}  # of a chunk of ours, as a run has them
CHUNK = 64
ROUNDS = 3  # alternating, the best of each counts
OURS: dict[str, Method] = {
    "bd-cspn": BDCSPN(scale=1),
    "laplacian-shot": LaplacianShot(scale=1),
    "pt-map": PTMAP(steps=10),
    "tim adm": TIM(solver="adm"),  # its 150 steps against 50 of theirs
    "tim gd": TIM(solver="gd", steps=50),
    "transductive-finetuning": TransductiveFinetuning(steps=25),
}
THEIRS = {
    "bd-cspn": "BDCSPN",
    "laplacian-shot": "LaplacianShot",
    "pt-map": "PTMAP",
    "tim adm": "TIM",
    "tim gd": "TIM",
    "transductive-finetuning": "TransductiveFinetuning",
}
AT_LEAST = {
    "bd-cspn": 1,  # a few products in both; what is left is to go through the features
    "laplacian-shot": 2,
    "pt-map": 100,
    "tim adm": 30,
    "tim gd": 15,
    "transductive-finetuning": 10,
}  # times easyfsl's speed; less on a fast processor, where its Python costs it less


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up(episodes: int) -> Episodes:
    """1-shot episodes of positive features, as a rectifier makes them."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(episodes, WAYS, WIDTH)) / 3
    support, query = (
        torch.from_numpy(np.abs(centres[:, labels] + random.normal(size=(episodes, len(labels), WIDTH)))).float()
        for labels in (np.arange(WAYS), np.tile(np.arange(WAYS), QUERIES))
    )
    labels, mask = torch.arange(WAYS).expand(episodes, -1), torch.ones(episodes, WAYS, dtype=torch.bool)
    return Episodes(support, labels, query, WAYS, mask, torch.arange(episodes))


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the processor in a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("name", OURS)
def test_a_transductive_method_beside_easyfsl(name: str, say: Callable[[str], None]):
    easyfsl: Any = pytest.importorskip("easyfsl.methods")
    count = EPISODES.get(name, CHUNK)
    episodes, method = made_up(count), OURS[name]
    reference = getattr(easyfsl, THEIRS[name])(torch.nn.Identity())

    def ours() -> None:
        with torch.no_grad():
            method.classify(episodes)

    def theirs() -> None:
        for i in range(TASKS):
            reference.process_support_set(episodes.support[i], episodes.support_labels[i])
            reference(episodes.query[i])

    ours()
    theirs()  # both are warm now
    times = [(seconds(theirs) / TASKS, seconds(ours) / count) for _ in range(ROUNDS)]
    their_time, our_time = np.min(times, axis=0)
    ratio = their_time / our_time
    rates = f"{1 / our_time:,.0f} episodes/s, easyfsl {1 / their_time:,.1f} tasks/s"
    say(f"{name}, 5-way 1-shot: {rates}: {ratio:.1f} times as fast")
    assert ratio >= AT_LEAST[name]
