"""Random episodes for the tests of methods, and a text tower that knows their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewbench.benchmark.backbones.conv4 import Conv4
from fewbench.benchmark.backbones.tuning import unfreeze
from fewbench.benchmark.backbones.vit import ViT
from fewbench.methods.base import Method
from fewbench.methods.metric.relation_net import RelationNet
from fewbench.tasks.episodes import Episodes, TrainClasses


class WordTower(nn.Module):
    """A text tower without training: a text's feature is a sum over its words, in which the name of a class is its centre.

    A word is one token: 4 … 31 for what is no class, and 32 + k for class k.
    """

    LENGTH, START, END, CLASSES = 24, 1, 2, 32

    def __init__(self, centres: np.ndarray) -> None:
        super().__init__()
        width = centres.shape[-1]
        random = np.random.default_rng(11)
        words = random.normal(size=(self.CLASSES, width)) / 4
        self.table = nn.Parameter(torch.from_numpy(np.concatenate([words, centres.reshape(-1, width)])).float())
        self.positions = nn.Parameter(torch.from_numpy(random.normal(size=(self.LENGTH, width)) / 4).float())
        self.requires_grad_(False)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """One token a word, between a start and an end, then zeros."""
        tokens = torch.zeros(len(texts), self.LENGTH, dtype=torch.int64)
        for row, text in zip(tokens, texts, strict=True):
            words = [self._token(word) for word in text.replace(".", " .").split()][: self.LENGTH - 2]
            row[: len(words) + 2] = torch.tensor([self.START, *words, self.END])
        return tokens

    def _token(self, word: str) -> int:
        return self.CLASSES + int(word[5:]) if word.startswith("class") else 4 + sum(map(ord, word)) % (self.CLASSES - 4)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]

    def encode(self, embedded: Tensor, tokens: Tensor) -> Tensor:
        """Every word says more or less of itself, as its place and the sum of all words have it."""
        x = (embedded + self.positions) * (tokens > 0)[..., None]  # [B, L, W]
        return (embedded * (tokens > 0)[..., None] * (1 + torch.tanh(x + x.mean(dim=1, keepdim=True)) / 2)).sum(dim=1)


def with_texts(episodes: Episodes, centres: np.ndarray) -> Episodes:
    """The episodes with names of their classes, "class0", "class1", …, and text features towards their centres [E, N, D]."""
    text = nn.functional.normalize(torch.from_numpy(centres).float(), dim=-1)
    count, ways = episodes.class_mask.shape
    names = tuple(tuple(f"class{e * ways + n}" for n in range(ways) if episodes.class_mask[e, n]) for e in range(count))
    text = text.masked_fill(~episodes.class_mask[..., None], 0)
    return replace(episodes, text=text, class_names=names, text_tower=WordTower(centres))


def train_classes(width: int) -> TrainClasses:
    """Features of four train classes with 20 images each."""
    random = np.random.default_rng(21)
    features = torch.from_numpy(random.normal(size=(4, 1, width)) + random.normal(size=(4, 20, width)) / 2).float()
    return TrainClasses(features.double().mean(dim=1), lambda number: features[number])


def equal_episodes(count: int = 4, ways: int = 5, shots: int = 2, queries: int = 7, width: int = 8, seed: int = 0) -> Episodes:
    """Episodes of one shape. Classes overlap, so that scores are neither all right nor all wrong."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(count, ways, width))
    labels = np.tile(np.arange(ways), shots)
    support = centres[:, labels] + random.normal(size=(count, ways * shots, width))
    query = centres[:, random.integers(0, ways, size=queries)] + random.normal(size=(count, queries, width))
    episodes = Episodes(
        support=torch.from_numpy(support).float(),
        support_labels=torch.from_numpy(np.tile(labels, (count, 1))),
        query=torch.from_numpy(query).float(),
        ways=ways,
        class_mask=torch.ones(count, ways, dtype=torch.bool),
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        train_mean=torch.from_numpy(random.normal(size=width) / 4).float(),
        train_classes=train_classes(width),
    )
    return with_texts(episodes, centres)


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
    episodes = Episodes(
        support=torch.from_numpy(support).float(),
        support_labels=torch.from_numpy(labels),
        query=torch.from_numpy(query).float(),
        ways=ways,
        class_mask=torch.arange(ways) < torch.from_numpy(ways_of)[:, None],
        seeds=torch.from_numpy(random.integers(0, 2**63, size=count)),
        train_mean=torch.from_numpy(random.normal(size=width) / 4).float(),
        train_classes=train_classes(width),
    )
    return with_texts(episodes, centres)


def as_images(episodes: Episodes, tune: str) -> Episodes:
    """The same episodes with images of 16 × 16 pixels in place of features of width 48, and a small network to encode them.

    It is a Conv-4, but for prompts, which a ViT takes.
    """
    recipe = ViT(width=16, depth=2, heads=2) if tune.startswith("prompt") else Conv4(width=4)
    generator = torch.Generator().manual_seed(5)
    backbone = recipe.build(3, 16, generator)
    # A pass in training mode gives batch norm running statistics that are neither the initial ones nor an episode's.
    backbone(torch.randn(32, 3, 16, 16, generator=generator))

    def images(features: torch.Tensor) -> torch.Tensor:
        small = features.view(-1, 3, 4, 4)
        return torch.nn.functional.interpolate(small, scale_factor=4.0).view(*features.shape[:2], 3, 16, 16)

    backbone = unfreeze(backbone.eval(), tune, recipe)
    return replace(
        episodes, support=images(episodes.support), query=images(episodes.query), backbone=backbone, tune=tune, train_mean=None,
        train_classes=None,
    )  # fmt: skip


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


@pytest.fixture
def decided() -> Callable[[Method], Method]:
    """A method with the middle candidate for each parameter that is "auto"."""

    def decide(method: Method) -> Method:
        candidates = {name: method.choices[name] for name in method.undecided_with("full")}
        return replace(method, **{name: values[len(values) // 2] for name, values in candidates.items()})

    return decide
