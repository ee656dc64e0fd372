"""Baseline: a linear classifier trained on the support features.

Chen, Liu, Kira, Wang and Huang 2019, "A closer look at few-shot classification", arXiv:1904.04232.

The backbone stays as it is. For every episode a new linear layer with a softmax is trained on the support features by SGD, and
then classifies the queries. Optimiser, mini-batches of 4 and 100 epochs are those of the authors' released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..base import Episodes
from ..parts.similarity import dot_products
from ..parts.softmax_head import BIAS, WEIGHTS, MiniBatch, SoftmaxHead, SupportSpan, initial_weights


@dataclass(frozen=True)
class Baseline(SoftmaxHead):
    """Baseline: linear classifier trained on the support features by SGD (Chen et al. 2019)."""

    citation: ClassVar[str] = "Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232"

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the trained layer's output."""
        width = episodes.support.shape[-1]
        support = episodes.support.masked_fill((episodes.support_labels < 0)[..., None], 0)  # [E, S, D]
        span = SupportSpan.of(support, initial_weights(episodes, WEIGHTS, width, fan_in=width))
        bias = initial_weights(episodes, BIAS, 1, fan_in=width)  # [E, N, 1]
        # An additional coordinate, 1 in every row, turns the bias into a weight.
        layer = self.train(torch.cat([span.weights, bias], dim=-1), pad(span.support, (0, 1), value=1.0), episodes)
        return dot_products(episodes.query, span.expanded(layer[..., :-1])) + layer[..., -1][:, None]  # [E, Q, N]

    def gradient(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """Mean over the mini-batch of (softmax(Wx) − y)xᵀ."""
        logits = torch.baddbmm(batch.absent, weights, batch.columns)  # [E, N, B]
        error = logits.softmax(dim=1).sub_(batch.targets).mul_(batch.shares)  # [E, N, B]
        return torch.bmm(error, batch.rows)  # [E, N, R]
