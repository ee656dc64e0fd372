"""Linear probe: logistic regression on the features of the support.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv:2103.00020 (appendix A.3),
and earlier work: a softmax classifier with an L2 penalty is fitted to frozen features by L-BFGS, and the strength of the
penalty is chosen on validation data. With features x and labels y of the support, weights W and intercepts b minimise the
objective of scikit-learn's LogisticRegression:

    C · Σ cross-entropy(W·x + b, y) + ½ · ‖W‖²

The weights of a class are a combination of the support features, centred since the intercept is not penalised. The search
therefore only uses the directions that these span: 5 coordinates, not 512, for 5 images with 512 features.

For two classes scikit-learn fits a single vector, w₁ − w₀, whose penalty is twice that of the two vectors here. C is therefore
halved for episodes of two ways; the difference of their two scores is scikit-learn's decision value.

Differs from the paper: there are 7 candidates of C instead of 96 between the same ends, 10⁻⁶ and 10⁶ (Zhou et al. 2022,
arXiv:2109.01134, begin their search with these 7), and one C for all episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from ..base import Episodes, Method, one_hot, parameter
from ..parts.lbfgs import LogisticProblems, solve
from ..parts.similarity import dot_products
from ..parts.span import reduced

# Bound of the error in a support image's score: the objective is convex enough for ‖W − best W‖ ≤ ‖gradient‖.
TOLERANCE = 3e-4


@dataclass(frozen=True)
class LinearProbe(Method):
    """Linear probe: L2-penalised logistic regression on the support features by L-BFGS (Radford et al. 2021)."""

    citation: ClassVar[str] = "Radford et al. 2021, arXiv:2103.00020"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {"C": (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)}

    C: float | Literal["auto"] = parameter(
        "auto",
        "weight of the cross-entropies relative to the penalty, as in scikit-learn; auto chooses on validation episodes",
        above=0,
    )
    normalised: bool = parameter(False, "scale every feature to length 1 first")

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the logit."""
        assert not isinstance(self.C, str)
        labels = one_hot(episodes.support_labels, episodes.ways, torch.float64)  # [E, S, N]
        present = labels.sum(dim=2, keepdim=True)  # [E, S, 1], 0 where a place is padding
        support = self._scaled(episodes.support.masked_fill(present == 0, 0).double())
        mean = support.sum(dim=1, keepdim=True) / present.sum(dim=1, keepdim=True)  # [E, 1, D]
        rows, basis = reduced((support - mean) * present)  # [E, S, R], [E, D, R]
        count, ways = present.sum(dim=(1, 2)), episodes.class_mask.sum(dim=1)  # [E], [E]
        costs = self.C * torch.where(ways == 2, 0.5, 1.0).double()  # [E]
        radius = torch.linalg.vector_norm(rows, dim=2).amax(dim=1)  # [E]
        # Coordinate of the intercept: large enough to make the objective about as convex in its weight as in the others.
        unit = torch.maximum(radius, (ways / (costs * count)).sqrt())[:, None, None]  # [E, 1, 1]
        left_out = (labels > 0) | (present == 0) | ~episodes.class_mask[:, None]  # [E, S, N]
        solution = solve(
            LogisticProblems(
                rows=torch.cat([rows, unit * present], dim=2),
                targets=labels.transpose(1, 2).contiguous(),
                left_out=torch.zeros_like(labels).masked_fill(left_out, -torch.inf).transpose(1, 2).contiguous(),
                costs=costs,
                penalties=pad(rows.new_ones(rows.shape[2]), (0, 1)),
                tolerances=TOLERANCE / unit[:, 0, 0],
            )
        )
        weights = torch.bmm(solution[..., :-1], basis.transpose(1, 2))  # [E, N, D]
        # In float64: the scores of queries far from 0 are small differences.
        scores = dot_products(self._scaled(episodes.query.double()) - mean, weights) + unit * solution[..., -1][:, None]
        return scores.to(episodes.query.dtype)  # [E, Q, N]

    def _scaled(self, features: Tensor) -> Tensor:
        return normalize(features, dim=-1) if self.normalised else features
