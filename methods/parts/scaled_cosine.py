"""The score of P>M>F: s · (cos(query, prototype) + b), s and b learned, prototypes the means of whole features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..base import class_means
from .cosine_head import cosines

INITIAL_SCALE, INITIAL_BIAS = 10.0, 0.0


class ScaledCosine(nn.Module):
    """Nearest class mean by cosine. The bias is common to a query's classes: it changes no softmax, so that it stays at 0."""

    def __init__(self) -> None:
        """Start where the paper does."""
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(INITIAL_SCALE))
        self.bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [E, Q, N] of features [E, S, D] with int64 labels [E, S] and [E, Q, D]."""
        prototypes = class_means(support, labels, ways)  # [E, N, D], of features that are not normalised
        return self.scale * (cosines(query, prototypes) + self.bias)
