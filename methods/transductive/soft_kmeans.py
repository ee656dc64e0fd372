"""Prototypical networks refined by soft k-means.

Ren et al. 2018, "Meta-learning for semi-supervised few-shot classification", arXiv:1803.00676.

Prototypes start at the class means of the support. Every unlabelled image then belongs to the classes in part, by the softmax
of minus its squared distances to the prototypes, and each prototype becomes the mean of its support images (weight 1) and of
all unlabelled images (weight: their part). These are the task's images without labels (`--unlabelled`), as in the paper; where
a task has none, they are the queries of the episode.

Differs from the paper: features are scaled to length 1, and the squared distances are multiplied by a scale, since a frozen
network was not trained for the softmax of its distances; values from 5 to 15 differed by half a point on CIFAR-FS's validation
classes with ResNet-12 features. There may be more steps than one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, parameter
from ..parts.similarity import distance_scores
from .joint import Joint, nearness


@dataclass(frozen=True)
class SoftKMeans(Method):
    """Prototypical networks whose prototypes are refined by soft k-means over the queries (Ren et al. 2018)."""

    transductive: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = True
    citation: ClassVar[str] = "Ren et al. 2018, arXiv:1803.00676"

    steps: int = parameter(1, "refinements of the prototypes", minimum=0)
    scale: float = parameter(7.5, "factor on the squared distances of features of length 1", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus the scaled squared distance to the refined prototype, up to a number for each query."""
        if episodes.unlabelled is not None:
            return self._semi_supervised(episodes, episodes.unlabelled)
        joint = Joint.of(episodes)
        weights, gram = self._refined(joint)
        return 2 * self.scale * nearness(weights, gram)[..., joint.shots :].transpose(1, 2)  # [E, Q, N]

    def _semi_supervised(self, episodes: Episodes, unlabelled: Tensor) -> Tensor:
        joint = Joint.of(replace(episodes, query=unlabelled, query_mask=None))
        prototypes = torch.bmm(self._refined(joint)[0], joint.rows)  # [E, N, D]
        return self.scale * distance_scores(normalize(episodes.query, dim=-1), prototypes, episodes.class_mask)

    def _refined(self, joint: Joint) -> tuple[Tensor, Tensor]:
        """Weights [E, N, F] of the rows in the refined prototypes, and the products [E, F, F] of the rows."""
        gram, weights = joint.gram(), joint.starts()
        for _ in range(self.steps):
            scores = 2 * self.scale * nearness(weights, gram)[..., joint.shots :]  # [E, N, Q]
            weights = joint.averaging(joint.with_queries(joint.probabilities(scores)))
        return weights, gram
