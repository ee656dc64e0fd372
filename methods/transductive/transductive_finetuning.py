"""Transductive fine-tuning of a classifier.

Dhillon, Chaudhari, Ravichandran and Soatto 2020, "A baseline for few-shot image classification", arXiv:1909.02729.

Prototypes start at the class means of the support, on features of length 1. Adam then lowers the cross-entropy of the support
plus the mean entropy of the queries' predictions, which moves the boundaries to where few queries are.

Differs from the paper: the network is frozen and only the prototypes move, which predict by the softmax of −τ/2 times squared
distances, as in TIM. The paper's learning rate and steps move them little. Larger ones do not help: with one image a class, the
entropy alone draws all queries to few classes, which TIM's entropy of the mean prediction prevents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..base import Episodes, Method, parameter
from .joint import Joint
from .prototype_descent import descend


@dataclass(frozen=True)
class TransductiveFinetuning(Method):
    """Transductive fine-tuning: prototypes trained on the support and on confident queries (Dhillon et al. 2020)."""

    transductive: ClassVar[bool] = True
    citation: ClassVar[str] = "Dhillon, Chaudhari, Ravichandran and Soatto 2020, arXiv:1909.02729"

    steps: int = parameter(25, "steps of Adam", minimum=0)
    learning_rate: float = parameter(5e-5, "of Adam", above=0)
    scale: float = parameter(15.0, "tau, factor on half the squared distances", above=0)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The rows twice, again and again, so that a chunk should fit in the cache of a core."""
        return 2 * super().touched(support, query, ways, width)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus half the scaled squared distance to the moved prototype, up to a number for each query."""
        joint = Joint.of(episodes)
        share = 1 / joint.query_count
        scores = descend(
            joint,
            lambda probabilities, logarithms: -logarithms * share,
            scale=self.scale,
            cross_entropy=1.0,
            steps=self.steps,
            learning_rate=self.learning_rate,
        )
        return scores.transpose(1, 2)  # [E, Q, N]
