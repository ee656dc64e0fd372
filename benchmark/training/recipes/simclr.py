"""SimCLR: of all views in the batch, which one is of the same image?

Chen et al. 2020, "A simple framework for contrastive learning of visual representations", arXiv:2002.05709. Two views of each
image; the loss NT-Xent on a projection that is thrown away. Under several processes the views of all of them are compared.
Differs from the paper: no shift of hue; AdamW instead of LARS; batch norm in the backbone has statistics for each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ....core.options import parameter
from ....core.ranges import LARGEST_SIZE
from ..loop.learner import Learner
from .base import Material, RecipeWithViews
from .two_views import TwoViewLearner


@dataclass(frozen=True)
class SimClr(RecipeWithViews):
    """Contrast two views of an image with the views of all others in the batch."""

    temperature: float = parameter(0.5, "by which cosine similarities are divided", minimum=0.001)
    width: int = parameter(128, "of the projection that is compared", minimum=1, maximum=LARGEST_SIZE)
    hidden: int = parameter(512, "width of the projection head's hidden layers", minimum=1, maximum=LARGEST_SIZE)

    citation: ClassVar[str] = (
        "Chen et al. 2020, A simple framework for contrastive learning of visual representations, arXiv:2002.05709"
    )

    def learner(self, material: Material) -> Learner:
        """Backbone and projection head."""
        return SimClrLearner(self, material)


class SimClrLearner(TwoViewLearner):
    """The head has two layers."""

    def __init__(self, recipe: SimClr, material: Material) -> None:
        """Put a projection head on the backbone."""
        super().__init__(recipe, material, [recipe.hidden, recipe.width])
        self.temperature = recipe.temperature

    def compare(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent, and how often the other view of the same image is the nearest."""
        scores, partner = similarities(first, second, self.temperature)
        accuracy = (scores.argmax(dim=1) == partner).float().mean()
        return functional.cross_entropy(scores, partner), {"accuracy": accuracy}


def similarities(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The scores and targets whose cross-entropy is NT-Xent (equation 1).

    Args:
        first: projections of one view of each image, [B, P].
        second: those of the other view.
        temperature: τ.

    Returns:
        Cosine similarities over τ of all views, [2B, 2B], −∞ to themselves; and the row of each view's partner, [2B].
    """
    z = functional.normalize(torch.cat([first, second]), dim=1)
    scores = z @ z.T / temperature
    partner = torch.arange(len(z), device=z.device).roll(len(first))
    return scores.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf), partner
