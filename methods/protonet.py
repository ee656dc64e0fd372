"""Prototypical networks.

Snell, Swersky and Zemel 2017, "Prototypical networks for few-shot learning", arXiv:1703.05175.

The prototype of a class is the mean of its support features. A query belongs to the class whose prototype is nearest by
squared Euclidean distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Episodes, Method, class_means
from .similarity import distance_scores


@dataclass(frozen=True)
class ProtoNet(Method):
    """Prototypical networks: nearest class mean by squared Euclidean distance (Snell et al. 2017)."""

    citation: ClassVar[str] = "Snell, Swersky and Zemel 2017, arXiv:1703.05175"

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus the squared distance to the prototype, up to a number common to the query's classes."""
        prototypes = class_means(episodes.support, episodes.support_labels, episodes.ways)  # [E, N, D]
        return distance_scores(episodes.query, prototypes, episodes.class_mask)  # [E, Q, N]
