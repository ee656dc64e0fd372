"""Shared by recipes that compare two views of each image by a projection that is thrown away."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from ..loop.learner import Part
from .base import ImageLearner, Material, RecipeWithViews
from .projection import full_precision, gathered, projection


class TwoViewLearner(ImageLearner):
    """Batches are views [2B, C, H, W], the first views of all images first."""

    def __init__(self, recipe: RecipeWithViews, material: Material, widths: Sequence[int]) -> None:
        """Put a projection head on the backbone.

        Args:
            recipe: says how views are drawn.
            material: with the backbone.
            widths: of the head's layers, those of its output last.
        """
        super().__init__(material)
        self.kinds = [recipe.views(material)] * 2
        self.head = projection((material.width, *widths), material.generator, batch_norm=True)

    def batch(self, step: int, part: Part) -> Tensor:
        """Two views of each image."""
        return self.views(step, part, self.kinds)

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the views of all processes, and figures."""
        z = self.head(self.backbone(batch))
        with full_precision(z):
            first, second = (gathered(half) for half in z.float().chunk(2))
            return self.compare(first, second)

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and figures, of the projections of one view of each image and those of the other, float32 [B, P] each."""
