"""Ridge regression to one-hot labels.

Bertinetto, Henriques, Torr and Vedaldi 2019, "Meta-learning with differentiable closed-form solvers", arXiv:1805.08136
(the head of R2-D2).

A linear map W is fitted to the support by ridge regression from features X to one-hot labels Y, in closed form. With few images
and wide features the solution is cheap in its dual form (the Woodbury identity): W = Xᵀ(XXᵀ + λI)⁻¹Y needs the solution of a
system with only one row for each support image. The class with the highest regressed value wins.

Differs from the paper: λ is a fixed multiple of the mean squared norm of the centred support features instead of a meta-learned
number, so that the scale of a backbone's features does not matter. Features are centred on the support's mean, and the mean
label is added back (an unpenalised intercept). The paper's learned scale and offset of the scores, which do not change their
order, are left out.

The default multiple, 1, was chosen on mini-ImageNet's validation classes with MobileNetV2 features; values from 1 to 10
differed by about a point at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import Episodes, Method, one_hot, parameter
from ..parts.similarity import dot_products

SMALLEST_LAMBDA = 1e-200


@dataclass(frozen=True)
class Ridge(Method):
    """Ridge regression to one-hot labels, in closed form (Bertinetto et al. 2019, R2-D2's head)."""

    citation: ClassVar[str] = "Bertinetto, Henriques, Torr and Vedaldi 2019, arXiv:1805.08136"

    regularization: float = parameter(
        1.0, "lambda, as a multiple of the mean squared norm of the centred support features", above=0
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the regressed one-hot label."""
        labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
        present = labels.sum(dim=2, keepdim=True)  # [E, S, 1], 0 where a place is padding
        count = present.sum(dim=1, keepdim=True)  # [E, 1, 1]
        support = episodes.support.double() * present  # [E, S, D]; in float32 a small λ could be lost beside the Gram matrix
        mean, mean_label = support.sum(dim=1, keepdim=True) / count, labels.sum(dim=1, keepdim=True) / count
        weights = self._weights((support - mean) * present, (labels - mean_label) * present, count)  # [E, N, D]
        intercept = mean_label - dot_products(mean, weights)  # [E, 1, N]
        dtype = episodes.query.dtype
        return dot_products(episodes.query, weights.to(dtype)) + intercept.to(dtype)  # [E, Q, N]

    def _weights(self, centred: Tensor, labels: Tensor, count: Tensor) -> Tensor:
        """Solve (XXᵀ + λI)A = Y; Wᵀ is AᵀX, [E, N, D]. Rows of padding are 0 in X, Y and thus A, and affect no other row."""
        gram = torch.bmm(centred, centred.transpose(1, 2))  # [E, S, S]
        diagonal = gram.diagonal(dim1=1, dim2=2)  # [E, S], a view
        mean_squared_norm = diagonal.sum(dim=1, keepdim=True) / count[:, 0]  # [E, 1]
        # Where all support features are equal, W is 0 for any λ; the lower bound only keeps the system solvable.
        diagonal += (self.regularization * mean_squared_norm).clamp(min=SMALLEST_LAMBDA)
        dual = torch.cholesky_solve(labels, torch.linalg.cholesky(gram))  # [E, S, N]
        return torch.bmm(dual.transpose(1, 2), centred)
