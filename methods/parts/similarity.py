"""Scores of queries against points, one or a few for each class: dot products, distances and cosines.

The batched matrix products have the fastest shape.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..base import class_means

SMALLEST_NORM = 1e-12  # lower bound of a norm before a division, as in torch.nn.functional.normalize


def dot_products(query: Tensor, points: Tensor) -> Tensor:
    """Dot product of every query with every point: [E, Q, D] and [E, N, D] to [E, Q, N]."""
    # Few points times many queries are up to twice as fast as the reverse, which has a short innermost dimension.
    return torch.bmm(points, query.transpose(1, 2)).transpose(1, 2)


def distance_scores(query: Tensor, points: Tensor, class_mask: Tensor) -> Tensor:
    """Minus the squared Euclidean distance of every query to the point of each class, up to a constant of each query.

    With c the mean of the points and p = c + o, ‖q − c‖² − ‖q − p‖² = 2·q·o − ‖o‖² − 2·c·o. The summand ‖q − c‖² is the same
    for all classes of a query, and changes neither the order of the scores nor their softmax. With this formula the queries are
    read only once, and fewer digits cancel in float32 where features lie far from the origin.

    Args:
        query: [E, Q, D].
        points: [E, N, D]; zeros where an episode has fewer classes.
        class_mask: bool [E, N], False where an episode has fewer classes.

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
    """Nearest class mean by cosine as in P>M>F: s · (cos(query, prototype) + b), with s and b learned.

    The prototypes are means of features that are not normalised. The bias is the same for all classes of a query: it does not
    change the softmax and stays at 0. The initial values are the paper's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [E, Q, N] of query features [E, Q, D], given support features [E, S, D] with int64 labels [E, S]."""
        prototypes = class_means(support, labels, ways)  # [E, N, D]
        return self.scale * (cosines(query, prototypes) + self.bias)
