"""Distillation: a student learns the soft labels that a teacher gives to unlabelled images.

Chen et al. 2020, "Big self-supervised models are strong semi-supervised learners" (SimCLR v2), arXiv:2006.10029, equation 2:
the cross-entropy of the student's answers with the teacher's, both softened by the temperature. Labels are not used.
The teacher is shown the classes by `labelled` images of each, as the paper fine-tunes it with a few, or by their names, as CLIP
labels images zero-shot (Radford et al. 2021, arXiv:2103.00020).
Differs from the paper: the teacher labels each image once, as it is stored; from few labelled images it learns no more than a
classifier of its features; AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..loop.learner import Learner
from .base import Material
from .teacher import RecipeWithTeacher, TaughtLearner


@dataclass(frozen=True)
class Distill(RecipeWithTeacher):
    """Learn the soft labels of a teacher, without any others."""

    citation: ClassVar[str] = (
        "Chen et al. 2020, Big self-supervised models are strong semi-supervised learners, arXiv:2006.10029"
    )

    def learner(self, material: Material) -> Learner:
        """Backbone and classifier."""
        return DistillLearner(self, material)


class DistillLearner(TaughtLearner):
    """Learns the teacher's answers."""

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross-entropy, and the share of the images on which student and teacher agree."""
        images, _, taught = batch
        scores = self.head(self.backbone(images)).float()
        agreement = (scores.argmax(dim=1) == taught.argmax(dim=1)).float().mean()
        return soft_cross_entropy(taught, scores, self.temperature), {"agreement": agreement}


def soft_cross_entropy(taught: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """The mean cross-entropy of a student's answers with a teacher's.

    Args:
        taught: scores of the teacher, [B, K].
        scores: of the student, [B, K].
        temperature: divides both.
    """
    targets = (taught / temperature).softmax(dim=1)
    return -(targets * (scores / temperature).log_softmax(dim=1)).sum(dim=1).mean()
