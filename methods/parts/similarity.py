"""Scores of queries against points, one or a few a class: dot products, distances and cosines.

The batched matrix products have the shape that is fastest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..base import class_means

SMALLEST_NORM = 1e-12  # of a vector that is divided by its norm, as torch.nn.functional.normalize has it


def dot_products(query: Tensor, points: Tensor) -> Tensor:
    """Dot product of every query with every point: [E, Q, D] and [E, N, D] to [E, Q, N]."""
    # The few points times the many queries is up to twice as fast as the reverse, which has a short innermost dimension.
    return torch.bmm(points, query.transpose(1, 2)).transpose(1, 2)


def distance_scores(query: Tensor, points: Tensor, class_mask: Tensor) -> Tensor:
    """Minus the squared Euclidean distance of every query to one point a class, up to a number common to a query's N scores.

    With c the mean of the points and p = c + o, ‖q − c‖² − ‖q − p‖² = 2·q·o − ‖o‖² − 2·c·o. The part ‖q − c‖² is the same for
    all classes of a query: with it or without, the order of the scores and their softmax are the same. Without it the queries
    are read only once, and fewer digits cancel in float32 where features lie far from the origin.

    Args:
        query: [E, Q, D].
        points: [E, N, D]; zeros where an episode has no such class.
        class_mask: bool [E, N], False where an episode has no such class.

    Returns:
        [E, Q, N]: ‖q − c‖² − ‖q − p‖².
    """
    centre = points.sum(dim=1, keepdim=True) / class_mask.sum(dim=1)[:, None, None]  # [E, 1, D]
    offset = points - centre  # [E, N, D]
    squared_length = torch.linalg.vector_norm(offset, dim=-1, keepdim=True).square()  # [E, N, 1]
    constant = squared_length + 2 * torch.bmm(offset, centre.transpose(1, 2))  # [E, N, 1]
    # Few points times many queries, as in `dot_products`.
    return torch.baddbmm(constant, offset, query.transpose(1, 2), beta=-1, alpha=2).transpose(1, 2)


def cosines(features: Tensor, weights: Tensor) -> Tensor:
    """Cosine of every feature with every class's weights: [E, Q, D] and [E, N, D] to [E, Q, N]."""
    length = torch.linalg.vector_norm(features, dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)  # [E, Q, 1]
    return dot_products(features, normalize(weights, dim=-1)) / length


class ScaledCosine(nn.Module):
    """Nearest class mean by cosine, as P>M>F has it: s · (cos(query, prototype) + b), with s and b learned.

    The prototypes are means of whole features. The bias is common to a query's classes: it changes no softmax and stays at 0.
    """

    def __init__(self) -> None:
        """Start where the paper does."""
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [E, Q, N] of features [E, S, D] with int64 labels [E, S] and [E, Q, D]."""
        prototypes = class_means(support, labels, ways)  # [E, N, D], of features that are not normalised
        return self.scale * (cosines(query, prototypes) + self.bias)
