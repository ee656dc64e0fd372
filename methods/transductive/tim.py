"""TIM: transductive information maximisation.

Boudiaf et al. 2020, "Transductive information maximization for few-shot learning", arXiv:2008.11297.

Prototypes start at the class means of the support, on features of length 1, and predict by the softmax of −τ/2 times squared
distances. They then move to lower

    c · cross-entropy of the support  −  entropy of the queries' mean prediction  +  a · mean entropy of a query's prediction.

Confident predictions that use all classes equally often have the highest mutual information with the queries. `solver=gd` moves
the prototypes by Adam (TIM-GD). `solver=adm` splits the problem with auxiliary predictions, for which each step has a closed
form (TIM-ADM): the paper's faster way. Its prototypes are always combinations of the episode's rows, so that all steps work on
the dot products of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..base import Episodes, Method, parameter
from .joint import Joint, nearness
from .prototype_descent import descend

SMALLEST = 1e-30  # lower bound of a probability before its logarithm


@dataclass(frozen=True)
class TIM(Method):
    """TIM: prototypes that maximise the mutual information of queries and predictions (Boudiaf et al. 2020)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Boudiaf et al. 2020, arXiv:2008.11297"

    solver: Literal["gd", "adm"] = parameter("adm", "Adam on the prototypes (gd), or alternating closed-form steps (adm)")
    scale: float = parameter(15.0, "tau, factor on half the squared distances", above=0)
    cross_entropy: float = parameter(0.1, "weight of the support's cross-entropy", minimum=0)
    conditional: float = parameter(0.1, "weight of the mean entropy of a query's prediction", minimum=0)
    steps: int | None = parameter(None, "steps of the solver; none means the paper's, 1000 for gd and 150 for adm", minimum=0)
    learning_rate: float = parameter(1e-4, "of Adam, for gd", above=0)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The rows twice, again and again, for gd; for adm their dot products, which are fewer numbers than the rows."""
        if self.solver == "gd":
            return 2 * super().touched(support, query, ways, width)
        return super().touched(support, query, ways, width) // 2

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus half the scaled squared distance to the moved prototype, up to a number for each query."""
        joint = Joint.of(episodes)
        scores = self._descended(joint) if self.solver == "gd" else self._alternated(joint)
        return scores.transpose(1, 2)  # [E, Q, N]

    def _descended(self, joint: Joint) -> Tensor:
        share = 1 / joint.query_count

        def derivative(probabilities: Tensor, logarithms: Tensor) -> Tensor:
            marginal = (probabilities.sum(dim=2, keepdim=True) * share).clamp(min=SMALLEST).log()  # [E, N, 1]
            return (marginal - self.conditional * logarithms) * share  # up to a number for each query

        return descend(
            joint,
            derivative,
            scale=self.scale,
            cross_entropy=self.cross_entropy,
            steps=1000 if self.steps is None else self.steps,
            learning_rate=self.learning_rate,
        )

    def _alternated(self, joint: Joint) -> Tensor:
        """Alternate between auxiliary predictions q and the prototypes' weights of the rows, as the authors' code does."""
        gram, weights, shots = joint.gram(), joint.starts(), joint.shots
        sizes = [joint.support_count, joint.query_count]
        known = joint.labels.sum(dim=1, keepdim=True)  # [E, 1, S]
        share = torch.cat([known * self.cross_entropy / (1 + self.conditional), joint.present * sizes[0] / sizes[1]], dim=2)
        scores = self.scale * nearness(weights, gram)  # [E, N, F]
        for _ in range(150 if self.steps is None else self.steps):
            logarithms = (scores + joint.absent).log_softmax(dim=1)
            predicted, sharp = logarithms.exp(), ((1 + self.conditional) * logarithms[..., shots:]).exp()
            mass = (sharp * joint.present).sum(dim=2, keepdim=True)  # [E, N, 1]
            wanted = joint.with_queries(sharp / mass.clamp(min=SMALLEST).sqrt())
            wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=SMALLEST)
            wanted, predicted = wanted * share, predicted * share  # [E, N, F]
            total = wanted.sum(dim=2, keepdim=True)
            moved = weights * predicted.sum(dim=2, keepdim=True) + wanted - predicted
            weights = moved / total.clamp(min=SMALLEST)
            scores = self.scale * nearness(weights, gram)
        return scores[..., shots:]
