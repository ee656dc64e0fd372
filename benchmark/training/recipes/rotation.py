"""RotNet: by which of 0, 90, 180 and 270 degrees was the image turned?

Gidaris, Singh and Komodakis 2018, "Unsupervised representation learning by predicting image rotations", arXiv:1803.07728.
All four rotations of an image are in one batch, as in the paper.
Differs from the paper: the classifier stands on the features that are evaluated, behind a batch norm without parameters; AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, Recipe
from .projection import classified, classifier

QUARTERS = 4


@dataclass(frozen=True)
class Rotation(Recipe):
    """Predict by which quarter turn an image was rotated."""

    citation: ClassVar[str] = (
        "Gidaris et al. 2018, Unsupervised representation learning by predicting image rotations, arXiv:1803.07728"
    )
    shifts: ClassVar[bool] = True

    def learner(self, material: Material) -> Learner:
        """Backbone and a classifier of four rotations."""
        return RotationLearner(material)


class RotationLearner(ImageLearner):
    """Batches are images [4B, C, H, W] and quarter turns [4B]."""

    def __init__(self, material: Material) -> None:
        """Put a classifier on the backbone."""
        super().__init__(material)
        self.head = classifier(material.width, QUARTERS)

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Shifted images in all four rotations, and which it is."""
        return all_rotations(self.shifted(step, part)[0])

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy and accuracy of the four rotations."""
        images, turns = batch
        return classified(self.head(self.backbone(images)), turns)


def all_rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image of [B, C, H, W] turned by 0, 90, 180 and 270 degrees: [4B, C, H, W], and the quarter turns [4B]."""
    turned = torch.cat([torch.rot90(images, quarters, dims=(2, 3)) for quarters in range(QUARTERS)])
    turns = torch.arange(QUARTERS, device=images.device).repeat_interleave(len(images))
    return turned.contiguous(memory_format=torch.channels_last), turns
