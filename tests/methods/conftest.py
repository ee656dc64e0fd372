"""Random episodes for the tests of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.tuning import free
from fewbench.methods.base import Method
from fewbench.methods.relation_net import RelationNet
from fewbench.tasks.episodes import Episodes


def equal_episodes(count: int = 4, ways: int = 5, shots: int = 2, queries: int = 7, width: int = 8, seed: int = 0) -> Episodes:
    """Episodes of one shape. Classes overlap, so that scores are neither all right nor all wrong."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(count, ways, width))
    labels = np.tile(np.arange(ways), shots)
    support = centres[:, labels] + random.normal(size=(count, ways * shots, width))
    query = centres[:, random.integers(0, ways, size=queries)] + random.normal(size=(count, queries, width))
    return Episodes(
        support=torch.from_numpy(support).float(),
        support_labels=torch.from_numpy(np.tile(labels, (count, 1))),
        query=torch.from_numpy(query).float(),
        ways=ways,
        class_mask=torch.ones(count, ways, dtype=torch.bool),
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        train_mean=torch.from_numpy(random.normal(size=width) / 4).float(),
    )


def unequal_episodes(
    count: int = 5, ways: int = 6, shots: int = 4, queries: int = 7, width: int = 8, seed: int = 0
) -> Episodes:
    """Episodes of 2 to `ways` ways and 1 to `shots` shots a class, padded with features that would show if they were used."""
    random = np.random.default_rng(seed)
    ways_of = random.integers(2, ways + 1, size=count)
    ways_of[0] = ways
    labels = np.full((count, ways * shots), -1)
    for row, n in zip(labels, ways_of, strict=True):
        drawn = np.repeat(np.arange(n), random.integers(1, shots + 1, size=n))
        row[: len(drawn)] = random.permutation(drawn)
    centres = random.normal(size=(count, ways, width))
    support = centres[np.arange(count)[:, None], labels] + random.normal(size=(count, ways * shots, width))
    support[labels < 0] = 50
    query = centres[:, :1] / 2 + random.normal(size=(count, queries, width))
    return Episodes(
        support=torch.from_numpy(support).float(),
        support_labels=torch.from_numpy(labels),
        query=torch.from_numpy(query).float(),
        ways=ways,
        class_mask=torch.arange(ways) < torch.from_numpy(ways_of)[:, None],
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        train_mean=torch.from_numpy(random.normal(size=width) / 4).float(),
    )


def as_images(episodes: Episodes, tune: str) -> Episodes:
    """The same episodes with images of 16 × 16 pixels in place of features of width 48, and a small Conv-4 to encode them."""
    recipe, generator = Conv4(width=4), torch.Generator().manual_seed(5)
    backbone = recipe.build(3, 16, generator)
    # A pass in training mode gives batch norm running statistics that are neither the initial ones nor an episode's.
    backbone(torch.randn(32, 3, 16, 16, generator=generator))

    def images(features: torch.Tensor) -> torch.Tensor:
        small = features.view(-1, 3, 4, 4)
        return torch.nn.functional.interpolate(small, scale_factor=4.0).view(*features.shape[:2], 3, 16, 16)

    backbone = free(backbone.eval(), tune, recipe)
    return replace(
        episodes, support=images(episodes.support), query=images(episodes.query), backbone=backbone, tune=tune, train_mean=None
    )


@pytest.fixture
def make_images() -> Callable[[Episodes, str], Episodes]:
    return as_images


@pytest.fixture
def make_episodes() -> Callable[..., Episodes]:
    return equal_episodes


@pytest.fixture
def make_unequal_episodes() -> Callable[..., Episodes]:
    return unequal_episodes


@pytest.fixture
def width_for() -> Callable[[Method, int], int]:
    """The width of features to try a method with: the usual one, but for relation networks, whose features are maps."""
    return lambda method, usual: 64 * 4 * 4 if isinstance(method, RelationNet) else usual


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring on tensors as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
