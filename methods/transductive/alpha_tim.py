"""α-TIM: TIM with α-entropies, which bear queries that are not balanced.

Veilleux, Boudiaf, Piantanida and Ben Ayed 2021, "Realistic evaluation of transductive few-shot learning", arXiv:2204.11181.

As in TIM, prototypes move by Adam to lower the support's cross-entropy, minus the entropy of the queries' mean prediction, plus
their mean entropy. But both entropies are Tsallis', H(p) = (1 − Σ pᵅ)/(α − 1). With α above 1, the pull towards classes of
equal size weakens where confident predictions contradict it. α near 1 makes it TIM with weights of 1.

The authors take α = 2 with 1 shot and α = 7 with 5 and more, both chosen on validation classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..base import Episodes, Method, parameter
from .joint import Joint
from .prototype_descent import descend


@dataclass(frozen=True)
class AlphaTIM(Method):
    """α-TIM: mutual information by Tsallis entropies, for unbalanced queries (Veilleux et al. 2021)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Veilleux, Boudiaf, Piantanida and Ben Ayed 2021, arXiv:2204.11181"

    alpha: float = parameter(2.0, "order of the entropies; the paper's is 2 with 1 shot and 7 with 5 or more", above=1)
    scale: float = parameter(15.0, "tau, factor on half the squared distances", above=0)
    cross_entropy: float = parameter(1.0, "weight of the support's cross-entropy", minimum=0)
    conditional: float = parameter(1.0, "weight of the mean entropy of a query's prediction", minimum=0)
    steps: int = parameter(1000, "steps of Adam", minimum=0)
    learning_rate: float = parameter(1e-4, "of Adam", above=0)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The rows twice, again and again, so that a chunk should fit in the cache of a core."""
        return 2 * super().touched(support, query, ways, width)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus half the scaled squared distance to the moved prototype, up to a number for each query."""
        joint = Joint.of(episodes)
        share, factor = 1 / joint.query_count, self.alpha / (self.alpha - 1)

        def derivative(probabilities: Tensor, logarithms: Tensor) -> Tensor:
            marginal = (probabilities.sum(dim=2, keepdim=True) * share).pow(self.alpha - 1)  # [E, N, 1]
            return (marginal - self.conditional * probabilities.pow(self.alpha - 1)) * (factor * share)

        scores = descend(
            joint,
            derivative,
            scale=self.scale,
            cross_entropy=self.cross_entropy,
            steps=self.steps,
            learning_rate=self.learning_rate,
        )
        return scores.transpose(1, 2)  # [E, Q, N]
