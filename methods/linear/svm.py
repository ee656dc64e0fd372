"""Linear support vector machine on frozen features.

Crammer and Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2.

A multi-class machine without intercept is fitted to the support features, scaled to length 1. Lee et al. 2019
(arXiv:1904.03758) meta-train through it, which is the method meta-opt-net; this is the machine alone, for any backbone.
parts/svm_solver.py solves the machines of all episodes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, parameter
from ..parts.similarity import dot_products
from ..parts.svm_solver import hyperplanes, matrices


@dataclass(frozen=True)
class SVM(Method):
    """Support vector machine: linear, multi-class, on features of length 1 (Crammer and Singer 2001)."""

    citation: ClassVar[str] = "Crammer and Singer 2001, Journal of Machine Learning Research 2"

    cost: float = parameter(10.0, "C, the weight of the hinge losses against the squared norm of the weights", above=0)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The solver's matrices, or half the features, which it goes through twice alone."""
        return max(super().touched(support, query, ways, width) // 2, matrices(support, ways))

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the decision value of the class."""
        weights = hyperplanes(replace(episodes, support=normalize(episodes.support, dim=-1)), self.cost)  # [E, N, D]
        query = normalize(episodes.query, dim=-1)
        return dot_products(query, weights.to(query.dtype))  # [E, Q, N]
