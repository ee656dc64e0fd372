"""PADDLE: assignments that use as few classes as explain the queries.

Martin, Boudiaf, Chouzenoux, Pesquet and Ben Ayed 2022, "Towards practical few-shot query sets: transductive minimum description
length inference", arXiv:2210.14545.

Prototypes start at the class means of the support, on features of length 1. Prototypes and assignments u of the queries lower,
in turn and in closed form, the squared distances to the prototypes minus the entropy of u plus a partition complexity,
−λ·Σ π·log π with π the mean assignment: it empties classes which few queries need. Nothing says that classes have equally many
queries, so the method suits episodes whose queries come from few of many classes.

Differs from the paper: features have length 1 and their squared distances a factor τ/2, instead of features scaled to the
range of the queries in every coordinate. With a small τ the complexity empties classes that have queries. The default was
chosen on CIFAR-FS's validation classes with ResNet-12 features, balanced queries; 60 to 200 differed by at most three points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..base import Episodes, Method, parameter
from .joint import Joint, nearness

SMALLEST = 1e-30  # lower bound of a share before its logarithm


@dataclass(frozen=True)
class Paddle(Method):
    """PADDLE: transductive minimum description length inference (Martin et al. 2022)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Martin, Boudiaf, Chouzenoux, Pesquet and Ben Ayed 2022, arXiv:2210.14545"

    steps: int = parameter(20, "rounds of assignments and prototypes", minimum=0)
    scale: float = parameter(100.0, "tau, factor on half the squared distances", above=0)
    complexity: float = parameter(
        1.0, "lambda, weight of the partition complexity, as a multiple of the number of queries", minimum=0
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus half the scaled squared distance, plus the reward of the class's size, up to a number a query."""
        joint = Joint.of(episodes)
        gram, weights = joint.gram(), joint.starts()
        scores = self.scale * nearness(weights, gram)[..., joint.shots :]  # [E, N, Q]
        for _ in range(self.steps):
            assigned = joint.with_queries(joint.probabilities(scores))  # [E, N, F]
            sizes = assigned[..., joint.shots :].sum(dim=2, keepdim=True) / joint.query_count  # [E, N, 1]
            weights = joint.averaging(assigned)
            reward = self.complexity * sizes.clamp(min=SMALLEST).log()
            scores = self.scale * nearness(weights, gram)[..., joint.shots :] + reward
        return scores.transpose(1, 2)  # [E, Q, N]
