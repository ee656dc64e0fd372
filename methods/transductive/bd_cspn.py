"""BD-CSPN: prototypes rectified by pseudo-labelled queries.

Liu, Song and Qin 2020, "Prototype rectification for few-shot learning", arXiv:1911.10713.

Two biases of a prototype from few images are reduced. The queries are shifted so that their mean is that of the support. Then
each query counts for the class whose prototype is nearest by cosine, with a weight that grows with the cosine: the rectified
prototype of a class is the mean of its support images and these queries, weighted by exp(scale · cosine). A query belongs to
the class with the highest cosine between the rectified prototype and its feature without the shift, as in released code.

Differs from the paper: every query has a pseudo-label, not only the most confident of each class; the network is the frozen
backbone, without the paper's training with cosines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, one_hot, parameter
from ..parts.similarity import cosines
from .joint import Joint


@dataclass(frozen=True)
class BDCSPN(Method):
    """BD-CSPN: prototypes rectified by shifted, pseudo-labelled queries (Liu et al. 2020)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Liu, Song and Qin 2020, arXiv:1911.10713"

    scale: float = parameter(10.0, "factor on the cosine in the weight of a query", minimum=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the cosine with the rectified prototype."""
        joint = Joint.of(episodes)
        return cosines(joint.query, rectified(joint, self.scale))  # [E, Q, N]


def rectified(joint: Joint, scale: float) -> Tensor:
    """Rectified prototypes [E, N, D].

    Args:
        joint: rows of length 1.
        scale: factor on the cosine in the weight of a row.
    """
    prototypes = normalize(torch.bmm(joint.starts(), joint.rows), dim=-1)  # [E, N, D]
    shift = joint.support.sum(dim=1, keepdim=True) / joint.support_count  # [E, 1, D]
    shift = shift - joint.query.sum(dim=1, keepdim=True) / joint.query_count
    products = torch.bmm(prototypes, joint.rows.transpose(1, 2))  # [E, N, F]; the features have length 1
    # The shifted features are never made: their products and lengths follow from those without the shift.
    moved = products[..., joint.shots :] + torch.bmm(prototypes, shift.transpose(1, 2))  # [E, N, Q]
    along = torch.bmm(shift, joint.query.transpose(1, 2))  # [E, 1, Q]
    square = joint.query.square().sum(dim=2)[:, None] + 2 * along + shift.square().sum(dim=2, keepdim=True)  # [E, 1, Q]
    moved = moved / square.clamp(min=1e-24).sqrt()
    cosine = torch.cat([products[..., : joint.shots], moved], dim=2) + joint.absent  # [E, N, F]
    nearest = one_hot(cosine[..., joint.shots :].argmax(dim=1), cosine.shape[1], cosine.dtype).transpose(1, 2)  # [E, N, Q]
    weights = joint.averaging(joint.with_queries(nearest) * (scale * (cosine - 1)).exp())  # at most 1 in exp
    return torch.bmm(weights, joint.rows) + weights[..., joint.shots :].sum(dim=2, keepdim=True) * shift
