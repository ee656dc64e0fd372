"""MAML beside learn2learn's: the meta-gradient of the same episodes by the same network, in turn in one process.

    python -m pytest tests/speed/test_maml_speed.py --override-ini addopts=--import-mode=importlib

Conv-4, one inner step of second order, 5-way 1-shot with 5 queries a class, 4 episodes at once. learn2learn clones and adapts
one episode after another.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.methods.adaptation.maml import MAML
from fewbench.tasks.episodes import Episodes

EPISODES, WAYS, QUERIES = 4, 5, 25
ROUNDS = 7  # alternating, the best of each counts: a passing load on the machine then hits neither side alone
AT_LEAST = 0.9  # times its speed


def drawn_episodes(width: int, size: int) -> Episodes:
    generator = torch.Generator().manual_seed(0)
    backbone = Conv4(width=width).build(1, size, generator)
    features = width * (size // 16) ** 2
    return Episodes(
        support=torch.randn(EPISODES, WAYS, 1, size, size, generator=generator),
        support_labels=torch.arange(WAYS).expand(EPISODES, -1),
        query=torch.randn(EPISODES, QUERIES, 1, size, size, generator=generator),
        ways=WAYS,
        class_mask=torch.ones(EPISODES, WAYS, dtype=torch.bool),
        seeds=torch.arange(EPISODES),
        backbone=backbone,
        learned=MAML().learned_part(backbone, features, WAYS, generator),
        query_labels=(torch.arange(QUERIES) % WAYS).expand(EPISODES, -1),
    )


def theirs(episodes: Episodes, rate: float) -> Callable[[], Tensor]:
    """A meta-gradient by learn2learn, on a network of the same weights that keeps no running statistics, as ours."""
    from learn2learn.algorithms import MAML as TheirMAML  # pyright: ignore[reportMissingImports]

    assert episodes.backbone is not None and episodes.learned is not None and episodes.query_labels is not None
    network = nn.Sequential(deepcopy(episodes.backbone), deepcopy(episodes.learned))
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
            layer.track_running_stats = False
    algorithm, parameters = TheirMAML(network, lr=rate), list(network.parameters())
    columns = (episodes.support, episodes.support_labels, episodes.query, episodes.query_labels)

    def gradient() -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        for support, support_labels, query, query_labels in zip(*columns, strict=True):
            learner = algorithm.clone()
            learner.adapt(cross_entropy(learner(support), support_labels))
            (cross_entropy(learner(query), query_labels) / EPISODES).backward()
        return as_vector([parameter.grad for parameter in parameters])

    return gradient


def ours(method: MAML, episodes: Episodes) -> Callable[[], Tensor]:
    assert episodes.backbone is not None and episodes.learned is not None
    parameters = [*episodes.backbone.parameters(), *episodes.learned.parameters()]

    def gradient() -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        method.loss(episodes).backward()
        return as_vector([parameter.grad for parameter in parameters])

    return gradient


def as_vector(gradients: list[Any]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.skipif(importlib.util.find_spec("learn2learn") is None, reason="learn2learn is not installed")
@pytest.mark.parametrize(("width", "size"), [(64, 28), (8, 16)], ids=["Omniglot's network", "a small one"])
def test_maml_beside_learn2learn(width: int, size: int, say: Callable[[str], None]):
    method, episodes = MAML(), drawn_episodes(width, size)
    sides = theirs(episodes, method.inner_learning_rate), ours(method, episodes)
    expected, gradient = (side() for side in sides)  # and both are warm now, ours having chosen
    assert (gradient - expected).norm() < 0.01 * expected.norm()
    with FlopCounterMode(display=False) as theirs_counted:
        sides[0]()
    with FlopCounterMode(display=False) as ours_counted:
        sides[1]()
    operations = [counted.get_total_flops() / EPISODES / 1e9 for counted in (theirs_counted, ours_counted)]
    their_time, our_time = np.min([[seconds(side) for side in sides] for _ in range(ROUNDS)], axis=0)
    chosen = method.settled(lambda: episodes).parallel
    say(
        f"MAML (Conv-4 of {width} filters, {size}×{size}, {chosen}): {EPISODES / our_time:,.1f} tasks/s, "
        f"learn2learn {EPISODES / their_time:,.1f}: {their_time / our_time:.2f} times as fast; "
        f"{operations[1]:.2f} Gflop a task, theirs {operations[0]:.2f}"
    )
    assert their_time / our_time >= AT_LEAST
