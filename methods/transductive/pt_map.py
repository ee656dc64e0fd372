"""PT-MAP: power transform, and predictions by optimal transport.

Hu, Gripon and Pateux 2021, "Leveraging the feature distribution in transfer-based few-shot learning", arXiv:2006.03806.

The power transform makes features from a rectifier more Gaussian. Support and queries are then centred on their own means and
scaled to length 1. Prototypes start at the class means of the support. In each step the queries are divided among the classes
by the transport plan of least squared distance with an entropy term, in which every class has equally many queries; the
prototypes move a part of the way to the means of their support and their share of the queries.

The equal sizes are true of balanced episodes alone: with queries as they come, the method loses much of its accuracy.

Differs from the paper: features below 0 count as 0 in the power transform, which they cannot have after a rectifier. The
prototypes are kept as combinations of the episode's rows, which changes no score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, parameter
from .joint import Joint, nearness
from .transport import balanced

OFFSET = 1e-6  # added to features before the power


@dataclass(frozen=True)
class PTMAP(Method):
    """PT-MAP: power-transformed features, prototypes moved by optimal transport (Hu et al. 2021)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Hu, Gripon and Pateux 2021, arXiv:2006.03806"

    power: float = parameter(0.5, "beta, exponent of the power transform", above=0)
    regularization: float = parameter(10.0, "lambda, factor on the squared distances in the transport plan", above=0)
    steps: int = parameter(20, "moves of the prototypes", minimum=0)
    rate: float = parameter(0.2, "alpha, part of the way that a prototype moves in a step", above=0, maximum=1)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the class's part of the query in the transport plan."""
        joint = self.transformed(Joint.of(episodes, normalised=False))
        gram, weights = joint.gram(), joint.starts()
        has = (joint.absent == 0).to(gram.dtype)  # [E, N, 1]
        sizes = has * (joint.query_count / has.sum(dim=1, keepdim=True))  # [E, N, 1]

        plan, prices = self._plan(joint, gram, weights, sizes, torch.zeros_like(sizes))
        for _ in range(self.steps):
            weights = weights.lerp(joint.averaging(joint.with_queries(plan)), self.rate)
            plan, prices = self._plan(joint, gram, weights, sizes, prices)
        return plan.transpose(1, 2)  # [E, Q, N]

    def _plan(self, joint: Joint, gram: Tensor, weights: Tensor, sizes: Tensor, prices: Tensor) -> tuple[Tensor, Tensor]:
        scores = 2 * self.regularization * nearness(weights, gram)[..., joint.shots :] + joint.absent
        return balanced(scores, sizes, joint.present, prices)

    def transformed(self, joint: Joint) -> Joint:
        """Powers of features of length 1, centred among the support and among the queries, and of length 1 again."""
        rows = normalize((joint.rows.clamp(min=0) + OFFSET).pow(self.power), dim=-1)
        support, query = rows[:, : joint.shots], rows[:, joint.shots :]
        known, asked = joint.labels.sum(dim=1)[..., None], joint.present.transpose(1, 2)  # [E, S, 1], [E, Q, 1]
        parts = [
            (part - (part * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)) * there
            for part, there in ((support, known), (query, asked))
        ]
        return replace(joint, rows=normalize(torch.cat(parts, dim=1), dim=-1))
