"""DINO: a student sees a part of an image and predicts what a teacher, its own moving average, makes of another part.

Caron et al. 2021, "Emerging properties in self-supervised vision transformers", arXiv:2104.14294. Both give a distribution
over learned prototypes; the teacher's is centred and sharpened, which keeps it from collapsing. The teacher sees two large
crops, the student these and several small ones. The teacher is what is kept.
Differs from the paper: small crops are scaled to as many pixels as large ones, so that backbones whose feature width depends
on the size can take them; fewer prototypes and narrower heads; the teacher's temperature and the weight decay are constant, and
the prototypes learn from the first step; no solarisation or shift of hue.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from ....core.options import parameter
from ....core.ranges import LARGEST_SIZE
from ..loop.learner import Learner, Part
from .base import ImageLearner, Material, RecipeWithViews
from .projection import full_precision, linear, processes, projection

LARGE = 2  # crops that the teacher sees


@dataclass(frozen=True)
class Dino(RecipeWithViews):
    """Predict what a moving average of the network makes of another crop of the same image."""

    small_crops: int = parameter(
        2, "crops of a small part of the image, which the student alone sees", minimum=0, maximum=LARGEST_SIZE
    )
    border: float = parameter(
        0.4, "share of the image that large crops have at least and small ones at most", minimum=0.01, maximum=1
    )
    prototypes: int = parameter(1024, "among which student and teacher distribute an image", minimum=2)
    hidden: int = parameter(512, "width of the projection head's two hidden layers", minimum=2, maximum=LARGEST_SIZE)
    bottleneck: int = parameter(128, "width in which images and prototypes are compared", minimum=2, maximum=LARGEST_SIZE)
    student_temperature: float = parameter(0.1, "of the student's distribution", minimum=0.001)
    teacher_temperature: float = parameter(0.04, "of the teacher's distribution; smaller is sharper", minimum=0.001)
    momentum: float = parameter(
        0.99, "with which the teacher follows at first; it rises to 1 along a cosine", minimum=0, maximum=1
    )
    centre_momentum: float = parameter(0.9, "of the mean that is taken off the teacher's scores", minimum=0, maximum=1)

    citation: ClassVar[str] = "Caron et al. 2021, Emerging properties in self-supervised vision transformers, arXiv:2104.14294"

    def learner(self, material: Material) -> Learner:
        """Student and teacher."""
        return DinoLearner(self, material)


class DinoLearner(ImageLearner):
    """Batches are views [(2 + small) · B, C, H, W], crop by crop, the two large ones first. `backbone` is the teacher's."""

    def __init__(self, recipe: Dino, material: Material) -> None:
        """Put heads on the backbone and copy both for the teacher."""
        super().__init__(material)
        self.recipe, self.steps = recipe, material.steps
        views, smallest = recipe.views(material), recipe.area(material.preprocess.channels)
        large = replace(views, areas=(recipe.border, 1.0))
        small = replace(views, areas=(min(smallest, recipe.border), recipe.border))
        self.kinds = [large] * LARGE + [small] * recipe.small_crops
        self.student, self.student_head = material.backbone, _Head(recipe, material)
        self.backbone = copy.deepcopy(self.student).requires_grad_(False)
        self.head = copy.deepcopy(self.student_head).requires_grad_(False)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(recipe.prototypes))

    def batch(self, step: int, part: Part) -> Tensor:
        """The crops of each image."""
        return self.views(step, part, self.kinds)

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and two entropies of the teacher in nats, from 0 to log(prototypes), that tell when it has collapsed.

        `batch_entropy` is that of its mean distribution over the batch: 0 when all images go to one prototype. `image_entropy`
        is the mean of those of single images: the highest when each image is spread evenly over all prototypes.
        """
        recipe, count = self.recipe, len(self.kinds)
        with torch.no_grad():
            large = batch[: len(batch) * LARGE // count]
            scores = self.head(self.backbone(large)).unflatten(0, (LARGE, -1))  # [2, B, K]
            targets = ((scores - self.centre) / recipe.teacher_temperature).softmax(dim=2)
            if self.training:
                self.centre.lerp_(_mean_over_processes(scores.mean(dim=(0, 1))), 1 - recipe.centre_momentum)
        guesses = self.student_head(self.student(batch)).unflatten(0, (count, -1)) / recipe.student_temperature  # [crops, B, K]
        mean = targets.mean(dim=(0, 1))
        figures = {"batch_entropy": entropy(mean), "image_entropy": entropy(targets).mean()}
        return cross_entropy_of_views(targets, guesses), figures

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The teacher follows the student."""
        start = self.recipe.momentum
        momentum = 1 - (1 - start) * (math.cos(math.pi * min(1.0, step / self.steps)) + 1) / 2
        ahead = [*self.student.parameters(), *self.student_head.parameters()]
        behind = [*self.backbone.parameters(), *self.head.parameters()]
        for teacher, student in zip(behind, ahead, strict=True):
            teacher.lerp_(student, 1 - momentum)


class _Head(nn.Module):
    """Three layers to the bottleneck, then the cosine similarity to each prototype."""

    def __init__(self, recipe: Dino, material: Material) -> None:
        super().__init__()
        widths = (material.width, recipe.hidden, recipe.hidden, recipe.bottleneck)
        self.projection = projection(widths, material.generator, batch_norm=False, activation=nn.GELU)
        self.prototypes = linear(recipe.bottleneck, recipe.prototypes, material.generator, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Scores [B, K] of features [B, D]."""
        z = self.projection(features)
        with full_precision(z):
            return functional.normalize(z.float(), dim=1) @ functional.normalize(self.prototypes.weight, dim=1).T


def entropy(probabilities: Tensor) -> Tensor:
    """Entropies in nats of distributions [..., K]: [...]."""
    return -torch.xlogy(probabilities, probabilities).sum(dim=-1)


def cross_entropy_of_views(targets: Tensor, guesses: Tensor) -> Tensor:
    """Mean cross-entropy between the teacher's view of an image and the student's of every other crop.

    Args:
        targets: the teacher's probabilities of its crops, [T, B, K].
        guesses: the student's scores over its temperature of all crops, [S, B, K]; its first T crops are the teacher's.
    """
    entropy = -torch.einsum("tbk,sbk->tsb", targets, guesses.log_softmax(dim=2))  # [T, S, B]
    other = ~torch.eye(*entropy.shape[:2], dtype=torch.bool, device=targets.device)
    return entropy[other].mean()


def _mean_over_processes(values: Tensor) -> Tensor:
    if processes() > 1:
        distributed.all_reduce(values)
        values = values / processes()
    return values
