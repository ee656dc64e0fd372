"""Linear discriminant analysis with a shrunken covariance.

Fisher 1936, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7; shrinkage: Ledoit and Wolf 2004, "A
well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88.

All classes have the same covariance, that of the support images around their class means, W. It is shrunk towards a multiple of
the identity: Σ = (1 − s)·W + s·v·I, with v the mean variance of a coordinate of the support around its overall mean. A query
belongs to the class whose mean is nearest by the Mahalanobis distance under Σ. With one image a class W is 0, and the nearest
class mean by Euclidean distance is left.

Only the directions that the support spans distinguish the classes, so that everything happens in their few coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..base import Episodes, Method, class_means, one_hot, parameter
from ..parts.span import reduced

SMALLEST = 1e-200  # lower bound of the variance, where all support images are equal


@dataclass(frozen=True)
class LDA(Method):
    """Linear discriminant analysis: nearest class mean under a shared, shrunken covariance (Fisher 1936)."""

    citation: ClassVar[str] = "Fisher 1936, Annals of Eugenics 7; Ledoit and Wolf 2004, Journal of Multivariate Analysis 88"

    shrinkage: float = parameter(0.9, "part of the identity in the covariance", above=0, maximum=1)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The features in float64."""
        return 2 * super().touched(support, query, ways, width)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus half the squared Mahalanobis distance to the class mean, up to a number for each query."""
        labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
        present = labels.sum(dim=2, keepdim=True)  # [E, S, 1]
        count = present.sum(dim=1, keepdim=True)  # [E, 1, 1]
        support = episodes.support.double().masked_fill(present == 0, 0)
        centre = support.sum(dim=1, keepdim=True) / count  # [E, 1, D]
        rows, basis = reduced((support - centre) * present)  # [E, S, R], [E, D, R]
        means = class_means(rows, episodes.support_labels, episodes.ways)  # [E, N, R]
        within = rows - torch.bmm(labels, means)  # [E, S, R]
        variance = rows.square().sum(dim=(1, 2), keepdim=True) / count / support.shape[2]  # [E, 1, 1]
        covariance = torch.bmm(within.transpose(1, 2), within) * ((1 - self.shrinkage) / count)
        covariance.diagonal(dim1=1, dim2=2).add_((self.shrinkage * variance)[..., 0].clamp(min=SMALLEST))
        weights = torch.cholesky_solve(means.transpose(1, 2), torch.linalg.cholesky(covariance))  # [E, R, N]
        offset = (weights * means.transpose(1, 2)).sum(dim=1, keepdim=True) / 2  # [E, 1, N]
        query = torch.bmm(episodes.query.double() - centre, basis)  # [E, Q, R]
        return (torch.bmm(query, weights) - offset).to(episodes.query.dtype)  # [E, Q, N]
