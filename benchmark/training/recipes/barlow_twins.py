"""Barlow Twins: each unit of the projection agrees between two views of an image, and repeats no other unit.

Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction", arXiv:2103.03230. The loss compares the
cross-correlation matrix of the two views' projections with the identity. Needs no negatives, so batches may be small.
Differs from the paper: the projection is narrower; both views are drawn alike, without solarisation or a shift of hue; AdamW
instead of LARS; batch norm in the backbone has statistics for each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ....core.options import parameter
from ....core.ranges import LARGEST_SIZE
from ..loop.learner import Learner
from .base import Material, RecipeWithViews
from .two_views import TwoViewLearner


@dataclass(frozen=True)
class BarlowTwins(RecipeWithViews):
    """Make the cross-correlation of two views the identity."""

    redundancy: float = parameter(0.005, "weight λ of the correlations between different units", minimum=0)
    width: int = parameter(512, "of the projection and of its two hidden layers", minimum=2, maximum=LARGEST_SIZE)

    citation: ClassVar[str] = (
        "Zbontar et al. 2021, Barlow Twins: self-supervised learning via redundancy reduction, arXiv:2103.03230"
    )

    def learner(self, material: Material) -> Learner:
        """Backbone and projection head."""
        return BarlowTwinsLearner(self, material)


class BarlowTwinsLearner(TwoViewLearner):
    """The head has three layers."""

    def __init__(self, recipe: BarlowTwins, material: Material) -> None:
        """Put a projection head on the backbone."""
        super().__init__(recipe, material, [recipe.width] * 3)
        self.redundancy = recipe.redundancy

    def compare(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its two terms."""
        invariance, redundancy = terms(cross_correlation(first, second))
        return invariance + self.redundancy * redundancy, {"invariance": invariance.detach(), "redundancy": redundancy.detach()}


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of every unit of one view with every unit of the other over the batch: two [B, P] to [P, P]."""
    return _standardised(first).T @ _standardised(second) / len(first)


def terms(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Σ (1 − C_ii)² and Σ C_ij² over i ≠ j, of [P, P]."""
    diagonal = correlation.diagonal()
    return ((1 - diagonal) ** 2).sum(), (correlation**2).sum() - (diagonal**2).sum()


def _standardised(values: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1; a constant column becomes 0."""
    centred = values - values.mean(dim=0)
    return centred / (centred.pow(2).mean(dim=0) + 1e-5).sqrt()
