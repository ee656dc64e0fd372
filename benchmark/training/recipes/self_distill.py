"""Self-distillation: a network learns the labels, and what an earlier network of its kind makes of the images.

Tian, Wang, Krishnan, Tenenbaum and Isola 2020, "Rethinking few-shot image classification: a good embedding is all you need?",
arXiv:2003.11539, section 3.2, after the born-again networks of Furlanello et al. 2018, arXiv:1805.04770. The loss is
(1 - α) · cross-entropy + α · τ² · KL(teacher ‖ student), both softened by the temperature τ; α and τ are those of the released
code. Every generation is one training, whose teacher is the one before: `recipe.teacher`.
Differs from the paper: the teacher scores each image once, as it is stored, and by a classifier that discriminant analysis fits
to its features, since the weights file holds no head; AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from ....core.options import parameter
from ..loop.learner import Learner
from .base import Material
from .teacher import RecipeWithTeacher, TaughtLearner


@dataclass(frozen=True)
class SelfDistill(RecipeWithTeacher):
    """Learn the labels and the answers of the generation before."""

    temperature: float = parameter(4.0, "by which the scores of teacher and student are divided", minimum=0.001)
    share: float = parameter(0.5, "α, weight of the teacher's answers; the labels have the rest", minimum=0, maximum=1)

    citation: ClassVar[str] = "Tian et al. 2020, Rethinking few-shot image classification, arXiv:2003.11539"

    def learner(self, material: Material) -> Learner:
        """Backbone and classifier."""
        return SelfDistillLearner(self, material)


class SelfDistillLearner(TaughtLearner):
    """Learns labels and answers."""

    def __init__(self, recipe: SelfDistill, material: Material) -> None:
        """Put a classifier on the backbone, and ask the teacher."""
        super().__init__(recipe, material)
        self.share = recipe.share

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the accuracy on the train classes."""
        images, labels, taught = batch
        scores = self.head(self.backbone(images)).float()
        accuracy = (scores.argmax(dim=1) == labels).float().mean()
        answers = divergence(taught, scores, self.temperature)
        return (1 - self.share) * functional.cross_entropy(scores, labels) + self.share * answers, {"accuracy": accuracy}


def divergence(taught: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """τ² · KL(teacher ‖ student), the mean over the images.

    Args:
        taught: scores of the teacher, [B, K].
        scores: of the student, [B, K].
        temperature: τ.
    """
    teacher, student = ((each / temperature).log_softmax(dim=1) for each in (taught, scores))
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
