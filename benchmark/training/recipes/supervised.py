"""Supervised pretraining: cross-entropy over the train classes with a linear layer that is thrown away afterwards.

Chen et al. 2019, "A closer look at few-shot classification", arXiv:1904.04232, "Baseline".
Differs from the paper: a batch norm without parameters stands before the linear layer (projection.py says why); AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, Recipe
from .projection import classified, classifier


@dataclass(frozen=True)
class Supervised(Recipe):
    """Cross-entropy over the train classes."""

    citation: ClassVar[str] = "Chen et al. 2019, A closer look at few-shot classification, arXiv:1904.04232"
    shifts: ClassVar[bool] = True

    def learner(self, material: Material) -> Learner:
        """Backbone and linear classifier."""
        return SupervisedLearner(material)


class SupervisedLearner(ImageLearner):
    """Batches are images [B, C, H, W] and labels [B]."""

    def __init__(self, material: Material) -> None:
        """Put a classifier on the backbone."""
        super().__init__(material)
        self.head = classifier(material.width, material.classes)

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Shifted images and their labels."""
        return self.shifted(step, part)[:2]

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy and accuracy on the train classes."""
        images, labels = batch
        return classified(self.head(self.backbone(images)), labels)
