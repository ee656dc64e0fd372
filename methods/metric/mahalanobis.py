"""Mahalanobis distances with regularised class covariances.

Bateni, Goyal, Masrani, Wood and Sigal 2020, "Improved few-shot visual classification", arXiv:1912.03432 (the classifier of
Simple CNAPS).

Every class has its own covariance: Q = λ·Σ_class + (1 − λ)·Σ_all + β·I with λ = k/(k + 1) for k support images of the class,
Σ_class their covariance and Σ_all that of the whole support, both over one less than their number of images. A query belongs
to the class with the least (x − mean)ᵀQ⁻¹(x − mean).

Differs from the paper: the network is frozen, without its adaptation to the task; β is a multiple of the mean variance of a
coordinate of the support instead of 1, so that the scale of a backbone's features does not matter.

Outside the directions that the support spans every Q is β times the identity, which is the same for all classes, so that
everything happens in the coordinates of that span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import Episodes, Method, class_means, one_hot, parameter
from ..parts.span import reduced

SMALLEST = 1e-12  # lower bound of the variance, in units of the mean square of a coordinate


@dataclass(frozen=True)
class Mahalanobis(Method):
    """Nearest class mean by Mahalanobis distance with regularised class covariances (Bateni et al. 2020)."""

    citation: ClassVar[str] = "Bateni, Goyal, Masrani, Wood and Sigal 2020, arXiv:1912.03432"

    regularization: float = parameter(10.0, "beta, as a multiple of the mean variance of a support coordinate", above=0)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The features, or the covariances and the queries' offsets from every class, in float64."""
        return max(2 * super().touched(support, query, ways, width), 3 * 8 * ways * support * (support + query))

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus the squared Mahalanobis distance, up to a number for each query."""
        labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
        present = labels.sum(dim=2, keepdim=True)  # [E, S, 1]
        count = present.sum(dim=1)[..., None]  # [E, 1, 1]
        support = episodes.support.double().masked_fill(present == 0, 0)
        centre = support.sum(dim=1, keepdim=True) / count  # [E, 1, D]
        rows, basis = reduced((support - centre) * present)  # [E, S, R], [E, D, R]
        means = class_means(rows, episodes.support_labels, episodes.ways)  # [E, N, R]
        whole = torch.bmm(rows.transpose(1, 2), rows)  # [E, R, R]
        variance = whole.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None] / count / support.shape[2]  # [E, 1, 1]
        variance = variance.maximum(SMALLEST * support.square().sum(dim=(1, 2))[:, None, None] / count / support.shape[2])
        variance = variance.where(variance > 0, 1)  # all features are 0, and all classes equally near
        shots = labels.sum(dim=1)[..., None, None]  # [E, N, 1, 1]
        offsets = (rows[:, None] - means[:, :, None]) * labels.transpose(1, 2)[..., None]  # [E, N, S, R]
        own = offsets.transpose(2, 3) @ offsets / (shots - 1).clamp(min=1)  # [E, N, R, R]
        share = shots / (shots + 1)
        covariance = share * own + (1 - share) * (whole / (count - 1).clamp(min=1))[:, None]
        covariance.diagonal(dim1=2, dim2=3).add_(self.regularization * variance)
        query = torch.bmm(episodes.query.double() - centre, basis)  # [E, Q, R]
        away = (query[:, None] - means[:, :, None]).transpose(2, 3)  # [E, N, R, Q]
        whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), away, upper=False)
        # Outside the span the distance is that of the query alone, and the same for every class.
        return -whitened.square().sum(dim=2).transpose(1, 2).to(episodes.query.dtype)  # [E, Q, N]
