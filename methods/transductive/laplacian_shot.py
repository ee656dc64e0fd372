"""LaplacianShot: predictions of neighbouring queries are drawn together.

Ziko, Dolz, Granger and Ben Ayed 2020, "Laplacian regularized few-shot learning", arXiv:2006.15486.

Every query starts with the softmax of minus its squared distances to the prototypes, which are rectified as in BD-CSPN. Then,
again and again, its new predictions are the softmax of these scores plus λ times the sum of its nearest neighbours' predictions
(the bound updates of the paper).

Differs from the paper: features are scaled to length 1 without subtracting the train mean (the paper's CL2N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import Episodes, Method, parameter
from .bd_cspn import rectified
from .joint import Joint


@dataclass(frozen=True)
class LaplacianShot(Method):
    """LaplacianShot: Laplacian-regularised assignments to rectified prototypes (Ziko et al. 2020)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Ziko, Dolz, Granger and Ben Ayed 2020, arXiv:2006.15486"

    neighbours: int = parameter(3, "nearest queries of a query, itself counted, as in the authors' code", minimum=1)
    regularization: float = parameter(0.7, "lambda, the weight of the neighbours' predictions", minimum=0)
    steps: int = parameter(20, "bound updates", minimum=0)
    scale: float = parameter(10.0, "factor on the cosine in the weights that rectify the prototypes", minimum=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logarithm of the probability, up to a number for each query."""
        joint = Joint.of(episodes)
        prototypes, query = rectified(joint, self.scale), joint.query
        squares = prototypes.square().sum(dim=2, keepdim=True)  # [E, N, 1]
        unary = torch.baddbmm(squares, prototypes, query.transpose(1, 2), beta=-1, alpha=2)  # [E, N, Q]
        affinity = self.regularization * self._neighbours(joint)  # [E, Q, Q], columns: neighbours of a query
        scores = unary
        for _ in range(self.steps):
            scores = torch.baddbmm(unary, joint.probabilities(scores), affinity)
        return scores.transpose(1, 2)  # [E, Q, N]

    def _neighbours(self, joint: Joint) -> Tensor:
        """1 in [E, i, j] where query i is among the neighbours of query j."""
        query = joint.query
        squares = query.square().sum(dim=2, keepdim=True)  # [E, Q, 1]
        near = torch.baddbmm(squares, query, query.transpose(1, 2), beta=-1, alpha=2)  # [E, Q, Q]; up to a number a column
        near = near.masked_fill(joint.present.transpose(1, 2) == 0, -torch.inf)
        near.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        count = min(self.neighbours - 1, query.shape[1] - 1)
        nearest = near.topk(count, dim=1)
        found = torch.zeros_like(near).scatter_(1, nearest.indices, 1)
        return found.masked_fill_(near == -torch.inf, 0)
