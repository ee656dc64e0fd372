"""Fewer coordinates for training a linear layer on a support set, without changing what is learned.

The gradient of a linear layer's weights is a sum of support features. However long gradient descent runs, the weights therefore
stay initial weights plus a combination of the support features, and training can be followed exactly in the S directions that
the support spans plus, for each class, the one direction in which its initial weights leave that span. For 25 images of
640 features that is 26 coordinates instead of 640.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SupportSpan:
    """Support features and initial weights in the reduced coordinates, R = min(S, D) + 1 of them.

    Dot products of weights with support features and of a class's weights with themselves are those of the originals.

    Attributes:
        support: [E, S, R]; the last coordinate is 0.
        weights: [E, N, R]; the last coordinate is the length of what lies outside the span.
        basis: [E, D, R − 1], orthonormal columns that span the support.
        outside: [E, N, D], for each class the unit direction of its last coordinate.
    """

    support: Tensor
    weights: Tensor
    basis: Tensor
    outside: Tensor

    @classmethod
    def of(cls, support: Tensor, weights: Tensor) -> SupportSpan:
        """Reduce support features [E, S, D] and initial weights [E, N, D]."""
        basis, triangle = torch.linalg.qr(support.transpose(1, 2))  # [E, D, R − 1], [E, R − 1, S]; product: supportᵀ
        inside = torch.bmm(weights, basis)  # [E, N, R − 1]
        outside = torch.baddbmm(weights, inside, basis.transpose(1, 2), alpha=-1)  # [E, N, D]
        length = torch.linalg.vector_norm(outside, dim=-1, keepdim=True)  # [E, N, 1]
        return cls(
            support=torch.nn.functional.pad(triangle.transpose(1, 2), (0, 1)),
            weights=torch.cat([inside, length], dim=-1),
            basis=basis,
            outside=outside / length.clamp(min=torch.finfo(length.dtype).tiny),
        )

    def expanded(self, weights: Tensor) -> Tensor:
        """Trained weights [E, N, R] back in the D original coordinates: [E, N, D]."""
        return torch.baddbmm(self.outside * weights[..., -1:], weights[..., :-1], self.basis.transpose(1, 2))
