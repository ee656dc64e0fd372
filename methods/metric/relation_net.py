"""Relation networks.

Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018, "Learning to compare: relation network for few-shot learning",
arXiv:1711.06025.

The similarity of a query and a class is learned. The maps of a class's support images are summed and joined with the query's
map, and a small network, the relation module, turns the two into one number from 0 to 1. By the mean squared error,
meta-training makes that number 1 for the query's own class and 0 for the others. The module has two convolutions with
max-pooling and two linear layers, with the names of the authors' code (layer1, layer2, fc1, fc2), so that its weights fit. As
in that code, the convolutions have padding 1 for small maps (below 10 × 10; Omniglot's 28 pixels give 5 × 5), which would not
survive two poolings otherwise, and no padding for larger ones (mini-ImageNet's 84 pixels give 19 × 19).

Features must be flattened maps of 64 channels, such as those of the backbone relation-encoder.

`bn` chooses the statistics of batch norm in encoder and relation module. With `batch` they come from the queries of the
episode, which is transductive; the support is a batch of its own. With `running` they come from training, and a query's scores
do not depend on other queries.

The authors' published numbers are transductive too, but `bn=batch` is not their evaluation. Their code classifies 75 queries in
five batches of 15 that hold exactly three of every class, so that batch norm sees the balance of the labels: measured on their
mini-ImageNet weights, 0.5 ± 0.5 points above one batch of 75, and 1.9 ± 0.8 above random batches of 15. Training keeps the
best of up to a hundred evaluations on test episodes.

Differs from the paper: the score is the value before the last sigmoid, which has the same order and no ties where the sigmoid
rounds to 0 or 1. Running statistics are averaged with momentum 0.1; theirs are those of the last batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d, mse_loss, relu

from ...core.errors import UserError
from ..base import Episodes, Method, one_hot, parameter
from ..parts.adaptation import AdaptableBackbone
from ..parts.random_numbers import drawn

CHANNELS, HIDDEN = 64, 8
SMALLEST_SIDE = 4  # of a map, for two poolings
SMALLEST_SIDE_WITHOUT_PADDING = 10


class RelationModule(nn.Module):
    """The network from pairs of maps to relations before the sigmoid."""

    def __init__(self, side: int) -> None:
        """Make the module for maps [64, side, side], with initial values from the global generator."""
        super().__init__()
        padding = 0 if side >= SMALLEST_SIDE_WITHOUT_PADDING else 1
        left = side
        for _ in range(2):
            left = (left + 2 * padding - 2) // 2
        self.side = side
        self.layer1 = _layer(2 * CHANNELS, padding)
        self.layer2 = _layer(CHANNELS, padding)
        self.fc1 = nn.Linear(CHANNELS * left * left, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, 1)
        for linear in (self.fc1, self.fc2):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.ones_(linear.bias)

    def forward(self, classes: Tensor, query: Tensor) -> Tensor:
        """Compare every query with every class of one episode.

        Args:
            classes: [N, D], summed support maps, flattened.
            query: [Q, D], flattened maps.

        Returns:
            [Q, N].
        """
        first: nn.Conv2d = self.layer1[0]  # pyright: ignore[reportAssignmentType]
        of_class, of_query = first.weight.split(CHANNELS, dim=1)
        # A convolution of two joined maps is the sum of a convolution of each. This needs N + Q of them instead of N · Q.
        mine = conv2d(self._maps(classes), of_class, first.bias, padding=first.padding)  # [N, 64, …]
        its = conv2d(self._maps(query), of_query, padding=first.padding)  # [Q, 64, …]
        pairs = (its[:, None] + mine).flatten(0, 1)  # [Q·N, 64, …]
        out = self.layer2(self.layer1[1:](pairs)).flatten(1)
        return self.fc2(relu(self.fc1(out))).view(len(query), len(classes))

    def _maps(self, features: Tensor) -> Tensor:
        return features.reshape(-1, CHANNELS, self.side, self.side)


def _layer(inputs: int, padding: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, CHANNELS, kernel_size=3, padding=padding)
    assert convolution.bias is not None
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.MaxPool2d(2))


@dataclass(frozen=True)
class RelationNet(Method):
    """Relation networks: a learned comparison of feature maps (Sung et al. 2018)."""

    meta_trained: ClassVar[bool] = True
    # Adam at 1e-3, halved every 100,000 episodes; 19 queries a class for 5-way 1-shot on Omniglot.
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"schedule": "step", "halve_every": 100_000},
        "omniglot": {"queries": 19},
    }
    needs_training: ClassVar[bool] = True
    citation: ClassVar[str] = "Sung et al. 2018, arXiv:1711.06025"

    bn: Literal["batch", "running"] = parameter("running", "whose statistics batch norm uses; batch is transductive")

    def __post_init__(self) -> None:
        """Set `transductive`: the method is, with the statistics of the batch."""
        super().__post_init__()
        # The class attribute is the default, for listings.
        object.__setattr__(self, "transductive", self.bn == "batch")

    def inputs_with(self, tune: str) -> Literal["features", "images"]:
        """Images where the features of an image depend on the rest of the batch."""
        return "images" if self.bn == "batch" else "features"

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> RelationModule:
        """The relation module.

        Raises:
            UserError: the features are not square maps of 64 channels, with at least 4 × 4 pixels.
        """
        side = math.isqrt(width // CHANNELS)
        if CHANNELS * side * side != width or side < SMALLEST_SIDE:
            raise UserError(
                f"relation-net needs maps of {CHANNELS} × {SMALLEST_SIDE} × {SMALLEST_SIDE} or more, and the backbone gives "
                f"{width} features; take --backbone relation-encoder"
            )
        return drawn(lambda: RelationModule(side), generator)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the relation of query and class before the sigmoid.

        Raises:
            UserError: bn=batch, and images or backbone are missing, or episodes have padding, which would be in the batches.
        """
        relation = episodes.learned
        assert isinstance(relation, RelationModule)
        if self.bn == "running":
            encoded = zip(episodes.support, episodes.query, strict=True)
        else:
            self._check(episodes)
            assert episodes.backbone is not None
            encoder, relation = _by_the_batch(episodes.backbone), _by_the_batch(relation)
            encoded = ((encoder(s), encoder(q)) for s, q in zip(episodes.support, episodes.query, strict=True))
        scores = []
        # One episode at a time: batch norm must not mix episodes, and the maps of all pairs would need much memory.
        for (support, query), labels, mask in zip(encoded, episodes.support_labels, episodes.class_mask, strict=True):
            sums = one_hot(labels, episodes.ways, support.dtype).T @ support.masked_fill((labels < 0)[:, None], 0)  # [N, D]
            relations = relation(sums[mask], query)  # [Q, classes of the episode]
            scores.append(relations.new_zeros(len(query), episodes.ways).masked_scatter(mask.expand(len(query), -1), relations))
        return torch.stack(scores)  # [E, Q, N]

    def _check(self, episodes: Episodes) -> None:
        if episodes.backbone is None or episodes.support.dim() != 5:
            raise UserError("relation-net with bn=batch needs images and a backbone")
        if episodes.padded:
            raise UserError("relation-net with bn=batch needs episodes of one shape; take bn=running")

    def loss(self, episodes: Episodes) -> Tensor:
        """Mean squared error over all pairs of query and class; the target is 1 for the query's class and 0 for others."""
        assert episodes.query_labels is not None
        pairs = (episodes.query_labels >= 0)[..., None] & episodes.class_mask[:, None]  # [E, Q, N]
        relations = self.classify(episodes).sigmoid()
        return mse_loss(relations[pairs], one_hot(episodes.query_labels, episodes.ways, relations.dtype)[pairs])


def _by_the_batch(module: nn.Module) -> nn.Module:
    """A module that normalises by the batch: in training the module itself, else a copy that shares its parameters."""
    return module if module.training else AdaptableBackbone(module, "queries").network
