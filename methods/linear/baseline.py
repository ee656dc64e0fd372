"""Baseline: a linear classifier trained on the support features.

Chen, Liu, Kira, Wang and Huang 2019, "A closer look at few-shot classification", arXiv:1904.04232.

The backbone stays as it is. For every episode a new linear layer with a softmax is trained on the support features by SGD, and
then classifies the queries. Optimiser, mini-batches of 4 and 100 epochs are those of the authors' released code.

Two more optimisers are for comparisons: Adam (`methods/parts/adam.py`), whose weight decay is decoupled, and LocoProp-S
(`methods/parts/locoprop.py`), with momentum and weight decay as SGD has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..base import Episodes, parameter
from ..parts.adam import Adam
from ..parts.locoprop import solved
from ..parts.similarity import dot_products
from ..parts.softmax_head import BIAS, WEIGHTS, MiniBatch, SoftmaxHead, SupportSpan, initial_weights


@dataclass(frozen=True)
class Baseline(SoftmaxHead):
    """Baseline: linear classifier trained on the support features by SGD (Chen et al. 2019)."""

    citation: ClassVar[str] = "Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232"
    later_parameters: ClassVar[frozenset[str]] = frozenset({"optimizer"})

    optimizer: Literal["sgd", "adam", "locoprop"] = parameter(
        "sgd",
        "adam has moments of its own in place of momentum and dampening; locoprop (LocoProp-S) takes a learning rate near 1",
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the trained layer's output."""
        width = episodes.support.shape[-1]
        support = episodes.support.masked_fill((episodes.support_labels < 0)[..., None], 0)  # [E, S, D]
        weights = initial_weights(episodes, WEIGHTS, width, fan_in=width)
        if self.optimizer == "adam":  # its step is another in other coordinates
            weights, bias = self._trained(weights, support, episodes)
        else:
            span = SupportSpan.of(support, weights)
            weights, bias = self._trained(span.weights, span.support, episodes)
            weights = span.expanded(weights)
        return dot_products(episodes.query, weights) + bias.transpose(1, 2)  # [E, Q, N]

    def _trained(self, weights: Tensor, support: Tensor, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Weights [E, N, R] and bias [E, N, 1] after training, from weights and support [E, S, R]."""
        bias = initial_weights(episodes, BIAS, 1, fan_in=episodes.support.shape[-1])  # [E, N, 1]
        # An additional coordinate, 1 in every row, turns the bias into a weight.
        layer = self.train(torch.cat([weights, bias], dim=-1), pad(support, (0, 1), value=1.0), episodes)
        return layer[..., :-1], layer[..., -1:]

    def mover(self, weights: Tensor, sizes: Tensor) -> Callable[[Tensor], None]:
        """SGD, also for LocoProp, or Adam."""
        if self.optimizer != "adam":
            return super().mover(weights, sizes)
        # Adam counts the steps of each of its tensors: here one for all episodes with as many mini-batches an epoch.
        batches = (sizes + self.batch_size - 1).div(self.batch_size, rounding_mode="floor")
        counts = batches.unique_consecutive(return_counts=True)[1].tolist()
        adam = Adam(weights.split(counts), [self.learning_rate] * len(counts), self.weight_decay)
        ends = list(accumulate(counts))

        def move(gradient: Tensor) -> None:
            live = len(gradient)
            adam.step([gradient[end - n : end] if end <= live else None for n, end in zip(counts, ends, strict=True)])

        return move

    def gradient(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """Mean over the mini-batch of (softmax(Wx) − y)xᵀ; with LocoProp the step to the minimum of its problem."""
        error = self.error(weights, batch)
        if self.optimizer == "locoprop":
            error = solved(error, batch)
        return torch.bmm(error, batch.rows)  # [E, N, R]

    def error(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """Gradient [E, N, B] of the loss with respect to the outputs: softmax(Wx) − y of each row, times its share."""
        logits = torch.baddbmm(batch.absent, weights, batch.columns)  # [E, N, B]
        return logits.softmax(dim=1).sub_(batch.targets).mul_(batch.shares)
