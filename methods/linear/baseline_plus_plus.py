"""Baseline++: a cosine classifier trained on the support features.

Chen, Liu, Kira, Wang and Huang 2019, "A closer look at few-shot classification", arXiv:1904.04232.

The method is Baseline with another layer. The output of a class is the cosine between the feature and the class's weight
vector, times a learned length of the class (weight normalisation, Salimans and Kingma 2016, as in the authors' released code),
times a fixed scale of 2:

    logit_n = scale · length_n · x·w_n / (‖x‖·‖w_n‖)

Differs from the paper, but not from its code: the paper's formula has no lengths of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import Episodes, parameter
from ..parts.similarity import dot_products
from ..parts.softmax_head import WEIGHTS, MiniBatch, SoftmaxHead, SupportSpan, initial_weights

SMALLEST_NORM = 1e-5  # added to the norm of a feature, as in the released code


@dataclass(frozen=True)
class BaselinePlusPlus(SoftmaxHead):
    """Baseline++: cosine classifier trained on the support features by SGD (Chen et al. 2019)."""

    citation: ClassVar[str] = "Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232"

    scale: float = parameter(2.0, "factor on the cosine before the softmax", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the trained cosine classifier's output."""
        width = episodes.support.shape[-1]
        support = episodes.support.masked_fill((episodes.support_labels < 0)[..., None], 0)  # [E, S, D]
        span = SupportSpan.of(_normalised(support), initial_weights(episodes, WEIGHTS, width, fan_in=width))
        length = torch.linalg.vector_norm(span.weights, dim=-1, keepdim=True)  # [E, N, 1], initial lengths
        trained = self.train(torch.cat([span.weights, length], dim=-1), span.support, episodes)
        direction, length = trained[..., :-1], trained[..., -1:]
        unit = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        return dot_products(_normalised(episodes.query), span.expanded(self.scale * length * unit))  # [E, Q, N]

    def gradient(self, weights: Tensor, batch: MiniBatch) -> Tensor:
        """Mean gradient over the mini-batch, with cosine c = w·x/‖w‖ and error e = scale·(softmax(scale·length·c) − y).

        With respect to the length it is Σ e·c, and to the direction length/‖w‖ · (Σ e·x − w/‖w‖ · Σ e·c).
        """
        direction, length = weights[..., :-1], weights[..., -1:]  # [E, N, R], [E, N, 1]
        norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)  # [E, N, 1]
        cosine = torch.bmm(direction, batch.columns).div_(norm)  # [E, N, B]
        logits = torch.addcmul(batch.absent, cosine, length, value=self.scale)
        error = logits.softmax(dim=1).sub_(batch.targets).mul_(batch.shares * self.scale)  # [E, N, B]
        along = (error * cosine).sum(dim=-1, keepdim=True)  # [E, N, 1]
        across = torch.bmm(error, batch.rows).addcmul_(direction, along / norm, value=-1)  # [E, N, R]
        return torch.cat([across.mul_(length / norm), along], dim=-1)


def _normalised(features: Tensor) -> Tensor:
    return features / (torch.linalg.vector_norm(features, dim=-1, keepdim=True) + SMALLEST_NORM)
