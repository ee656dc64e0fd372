"""Sub-pseudo-labels: where weak labels and a teacher disagree, each way to disagree is a class of its own.

Li et al. 2022, "Learning from weakly-labeled web videos via exploring sub-concepts", arXiv:2101.03713. An image with a weak
label w that the teacher takes for class k gets the label (w, k): an entry of their confusion matrix. With `space=agreement` two
are left for each weak label, the teacher agrees or does not: the aggregated SPL-B, as far as we understand the paper.
Labels are made weak here: by flips to any other class, or by the first parent of the class in the dataset's taxonomy. With a
parent the teacher agrees when its class lies below. `space=weak` and `space=teacher` learn one side alone, to compare with.
Differs from the paper: images in the place of clips of videos; the teacher is a classifier on features of given weights.

Letters in shape comments: n images of a split, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ....core.options import parameter
from ....core.progress import Progress
from ....core.random_streams import Purpose, bounded, uniform, words
from ....tasks.datasets.base import Dataset
from ....tasks.datasets.split import Split
from ..loop.learner import Learner, Part
from .base import ImageLearner, Material
from .projection import classified, classifier
from .teacher import RecipeWithTeacher, Teacher

Space = Literal["pairs", "agreement", "weak", "teacher"]


@dataclass(frozen=True)
class Spl(RecipeWithTeacher):
    """Learn which weak label and which of the teacher's classes an image has, together."""

    weak: Literal["flips", "parents"] = parameter("flips", "how labels are made weak: flips, or parents in the taxonomy")
    noise: float = parameter(0.4, "probability that a label is flipped to another class", minimum=0, maximum=1)
    space: Space = parameter("pairs", "what is learnt: pairs (SPL), agreement (SPL-B), or weak or teacher, one side alone")

    citation: ClassVar[str] = (
        "Li et al. 2022, Learning from weakly-labeled web videos via exploring sub-concepts, arXiv:2101.03713"
    )

    def teacher_of(self, dataset: Dataset, split: Split, device: torch.device, progress: Progress) -> Teacher:
        """The teacher, and the parents of the classes where they are the weak labels.

        Raises:
            UserError: the dataset has no taxonomy.
        """
        teacher = super().teacher_of(dataset, split, device, progress)
        if self.weak == "flips":
            return teacher
        parents = [dataset.taxonomy(split.name).parents[name][0] for name in split.class_ids]
        number = {name: place for place, name in enumerate(dict.fromkeys(parents))}
        return replace(teacher, groups=torch.tensor([number[name] for name in parents]))

    def learner(self, material: Material) -> Learner:
        """Backbone and a classifier of the sub-pseudo-labels."""
        return SplLearner(self, material)


class SplLearner(ImageLearner):
    """Batches are images [B, C, H, W] and numbers of sub-pseudo-labels [B]; only those that occur have a number."""

    def __init__(self, recipe: Spl, material: Material) -> None:
        """Make the labels weak, and ask the teacher."""
        super().__init__(material)
        assert material.teacher is not None
        labels, groups = self.images.labels.cpu(), material.teacher.groups
        if groups is None:
            weak, groups = flipped(labels, material.classes, recipe.noise, self.images.seed), torch.arange(material.classes)
        else:
            weak = groups[labels]
        learnt = sub_pseudo_labels(weak, material.teacher.scores().argmax(dim=1), groups, recipe.space)
        self.learnt = learnt.to(self.images.device)
        self.head = classifier(material.width, int(learnt.max()) + 1)

    def batch(self, step: int, part: Part) -> tuple[Tensor, Tensor]:
        """Shifted images and their sub-pseudo-labels."""
        rows = self.images.rows(step)[part.rank :: part.world]
        return self.shifted(step, part)[0], self.learnt[rows.to(self.learnt.device)]

    def forward(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy and accuracy."""
        images, labels = batch
        return classified(self.head(self.backbone(images)), labels)


def flipped(labels: Tensor, classes: int, probability: float, seed: int) -> Tensor:
    """Labels int64 [n], each of which is another class with a probability, all others alike; a function of the seed."""
    drawn = words(seed, Purpose.WEAK_LABELS, 0, 0, len(labels), 2)
    others = torch.from_numpy(1 + bounded(drawn[:, 1], max(1, classes - 1)))
    return torch.where(torch.from_numpy(uniform(drawn[:, 0]) <= probability), (labels + others) % classes, labels)


def sub_pseudo_labels(weak: Tensor, predicted: Tensor, groups: Tensor, space: Space) -> Tensor:
    """What each image is to be learnt as, int64 [n], numbered from 0 without gaps.

    Args:
        weak: weak labels, int64 [n].
        predicted: classes that the teacher predicts, int64 [n].
        groups: the weak label to which each class belongs, int64 [K].
        space: of the labels.
    """
    spaces = {
        "pairs": weak * len(groups) + predicted,
        "agreement": 2 * weak + (groups[predicted] == weak),
        "weak": weak,
        "teacher": predicted,
    }
    return spaces[space].unique(return_inverse=True)[1]
