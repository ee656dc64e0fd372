"""Self-training: a classifier labels the images of which it is surest, and is fitted again with them.

Lee 2013, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", ICML workshop on
challenges in representation learning.

The task gives images without labels (`--unlabelled`). A classifier is fitted to the support and answers them. For each class
the images with the widest margin between the best and the second-best score join the support, with the class as their label. In
each further round, which may take more of them, the classifier that was fitted last labels all images anew. Without such images
the method is its classifier.

Letters in shape comments: E episodes, N ways, S support rows, M unlabelled rows, Q query rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..base import Episodes, Method, parameter
from ..metric.protonet import ProtoNet
from .baseline import Baseline
from .lda import LDA
from .ridge import Ridge
from .svm import SVM

CLASSIFIERS: dict[str, type[Method]] = {"baseline": Baseline, "lda": LDA, "protonet": ProtoNet, "ridge": Ridge, "svm": SVM}


@dataclass(frozen=True)
class SelfTraining(Method):
    """Self-training: pseudo-labels of the most confident unlabelled images, over another method (Lee 2013)."""

    uses_unlabelled: ClassVar[bool] = True
    citation: ClassVar[str] = "Lee 2013, ICML workshop on challenges in representation learning"

    classifier: Literal["baseline", "lda", "protonet", "ridge", "svm"] = parameter("ridge", "method that labels and answers")
    rounds: int = parameter(2, "times that pseudo-labels are given", minimum=0)
    confident: int = parameter(3, "images of each class that get a label in the first round, and more in each one", minimum=1)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: that of the classifier that was fitted last."""
        classifier, known, images = CLASSIFIERS[self.classifier](), episodes, episodes.unlabelled
        if images is None:
            return classifier.classify(episodes)
        for round_ in range(self.rounds):
            scores = classifier.classify(replace(known, query=images, query_mask=None))  # [E, M, N]
            labels = most_confident(scores, episodes.class_mask, (round_ + 1) * self.confident)
            known = replace(
                episodes,
                support=torch.cat([episodes.support, images], dim=1),
                support_labels=torch.cat([episodes.support_labels, labels], dim=1),
            )
        return classifier.classify(known)


def most_confident(scores: Tensor, class_mask: Tensor, count: int) -> Tensor:
    """Pseudo-labels, int64 [E, M]: the class with the best score for the surest images of each class, −1 for all others.

    Args:
        scores: [E, M, N].
        class_mask: bool [E, N].
        count: images of each class, at most.
    """
    best, found = scores.masked_fill(~class_mask[:, None], -torch.inf).topk(2, dim=2)  # [E, M, 2]
    margin, label = best[..., 0] - best[..., 1], found[..., 0]  # [E, M]
    mine = label[:, None] == torch.arange(scores.shape[2], device=scores.device)[:, None]  # [E, N, M]
    order = margin[:, None].masked_fill(~mine, -torch.inf).argsort(dim=2, descending=True, stable=True)
    rank = order.argsort(dim=2)
    return label.masked_fill(~((rank < count) & mine).any(dim=1), -1)
