"""SimpleShot.

Wang, Chao, Weinberger and van der Maaten 2019, "SimpleShot: revisiting nearest-neighbor classification for few-shot learning",
arXiv:1911.04623.

Features are transformed, then a query belongs to the class whose mean support feature is nearest by Euclidean distance. The
paper's best transform, CL2N, subtracts the mean feature of the training classes and scales every feature to length 1. L2N only
scales, and UN leaves the features as they are, which makes the method the same as prototypical networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import normalize

from ...core.errors import UserError
from ..base import Episodes, Method, class_means, parameter
from ..parts.similarity import distance_scores


@dataclass(frozen=True)
class SimpleShot(Method):
    """SimpleShot: centred and normalised features, nearest class mean (Wang et al. 2019)."""

    uses_train_mean: ClassVar[bool] = True
    citation: ClassVar[str] = "Wang, Chao, Weinberger and van der Maaten 2019, arXiv:1911.04623"

    transform: Literal["cl2n", "l2n", "un"] = parameter(
        "cl2n", "centre with the train mean and normalise (cl2n), normalise only (l2n), or leave the features as they are (un)"
    )

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: minus the squared distance to the class mean, up to a constant of each query.

        Raises:
            UserError: the transform is cl2n, and the episodes have no train mean.
        """
        support, query = (self._transformed(features, episodes.train_mean) for features in (episodes.support, episodes.query))
        means = class_means(support, episodes.support_labels, episodes.ways)  # [E, N, D]
        return distance_scores(query, means, episodes.class_mask)  # [E, Q, N]

    def _transformed(self, features: Tensor, train_mean: Tensor | None) -> Tensor:
        if self.transform == "un":
            return features
        if self.transform == "l2n":
            return normalize(features, dim=-1)
        if train_mean is None:
            raise UserError("simpleshot needs the mean feature of the train split; give it one or take transform=l2n")
        return normalize(features - train_mean, dim=-1)
