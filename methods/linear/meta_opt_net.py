"""MetaOptNet: a support vector machine as the head of meta-training.

Lee, Maji, Ravichandran and Soatto 2019, "Meta-learning with differentiable convex optimization", arXiv:1904.03758.

A linear multi-class support vector machine (Crammer and Singer 2001) without intercept is fitted to the support features of
every episode. Its scores of the queries, times a learned number, are differentiable in the features of support
and queries. Meta-training thus makes features that suit such a classifier. parts/svm_solver.py solves the machines.

Differs from the authors' code: theirs adds the identity to the kernel matrix for its solver, which is an additional
regularisation; here the machine is that of the paper. Their label smoothing of 0.1 is left out.
Their number starts at 1, and their learning rate of 0.1 moves it far. At 0.001 it moves by a few units in thousands of
steps; there let it start higher (`initial_scale`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ..base import Episodes, Method, parameter
from ..parts.similarity import dot_products
from ..parts.svm_solver import hyperplanes, matrices


class Scale(nn.Module):
    """The learned factor on the scores."""

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(start)))


@dataclass(frozen=True)
class MetaOptNet(Method):
    """MetaOptNet: a multi-class support vector machine head (Lee et al. 2019)."""

    meta_trained: ClassVar[bool] = True
    citation: ClassVar[str] = "Lee, Maji, Ravichandran and Soatto 2019, arXiv:1904.03758"

    later_parameters: ClassVar[frozenset[str]] = frozenset({"initial_scale"})

    cost: float = parameter(0.1, "C, the weight of the hinge losses against the squared norm of the weights", above=0)
    initial_scale: float = parameter(1.0, "factor on the scores at the start of meta-training", above=0)

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> Scale:
        """The scale."""
        return Scale(self.initial_scale)

    def touched(self, support: int, query: int, ways: int, width: int) -> int:
        """The solver's matrices, or half the features, which it goes through twice alone."""
        return max(super().touched(support, query, ways, width) // 2, matrices(support, ways))

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the scale times the decision value of the class."""
        assert isinstance(episodes.learned, Scale)
        weights = hyperplanes(episodes, self.cost).to(episodes.query.dtype)  # [E, N, D]
        return episodes.learned.scale * dot_products(episodes.query, weights)  # [E, Q, N]
