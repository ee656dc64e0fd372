"""Prototypical networks.

Snell, Swersky and Zemel 2017, "Prototypical networks for few-shot learning", arXiv:1703.05175.

The prototype of a class is the mean of its support features. A query belongs to the class whose prototype is nearest by squared
Euclidean distance, or by cosine with `distance=cosine`, which the paper found to be worse. Meta-training minimises the
cross-entropy of the softmax over the scores.

Differs from the paper: the cosine is multiplied by a scale before the softmax; without a scale, training hardly moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from ..base import Episodes, Method, class_means, parameter
from ..parts.similarity import cosines, distance_scores


@dataclass(frozen=True)
class ProtoNet(Method):
    """Prototypical networks: nearest class mean by squared Euclidean distance (Snell et al. 2017)."""

    meta_trained: ClassVar[bool] = True
    # Adam at 1e-3, halved every 2,000 episodes; Omniglot 60-way with 5 queries, mini-ImageNet 30-way (1-shot).
    trained_with: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "*": {"schedule": "step", "halve_every": 2000},
        "omniglot": {"ways": 60, "queries": 5},
        "mini-imagenet": {"ways": 30},
    }
    later_parameters: ClassVar[frozenset[str]] = frozenset({"distance", "scale"})
    citation: ClassVar[str] = "Snell, Swersky and Zemel 2017, arXiv:1703.05175"

    distance: Literal["euclidean", "cosine"] = parameter("euclidean", "how far a query is from a prototype")
    scale: float = parameter(10.0, "factor on the cosine; it matters to training only", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: scale times the cosine, or minus the squared distance, up to a constant of each query."""
        prototypes = class_means(episodes.support, episodes.support_labels, episodes.ways)  # [E, N, D]
        if self.distance == "cosine":
            return self.scale * cosines(episodes.query, prototypes)  # [E, Q, N]
        return distance_scores(episodes.query, prototypes, episodes.class_mask)  # [E, Q, N]
