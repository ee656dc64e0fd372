"""Tip-Adapter: CLIP zero-shot with a memory of the support images, without training.

Zhang et al. 2022, "Tip-Adapter: training-free adaption of CLIP for few-shot classification", arXiv:2207.09519.

The support's features, at length 1, are the keys of a memory, and their one-hot labels are its values. With a query's feature
q, the keys K and the text features T, all of length 1,

    scores = 100 · q·Tᵀ + alpha · exp(−beta · (1 − q·Kᵀ)) · one-hot labels

Alpha is the weight of the memory, and beta says how near a key must be to count. By default they are the best pair on
validation episodes, which have other classes than the test episodes. The pair that the paper finds best on ImageNet, 1 and 5.5,
is among the candidates. The authors' code searches up to 13 in both; alpha goes further here, since the text scores of a small
model are often further apart than CLIP's.

Differs from the paper: a key is the feature of an image instead of the mean over 10 augmented views. The released code chooses
alpha and beta by accuracy on validation images of the test classes, and on ImageNet by accuracy on the test images themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import Episodes, Method, one_hot, parameter
from ..parts.clip_scores import text_of, text_scores, unit_support
from ..parts.similarity import dot_products


@dataclass(frozen=True)
class TipAdapter(Method):
    """Tip-Adapter: zero-shot scores plus a memory of the support, without training (Zhang et al. 2022)."""

    uses_text: ClassVar[bool] = True
    citation: ClassVar[str] = "Zhang et al. 2022, arXiv:2207.09519"
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "alpha": (0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        "beta": (1.0, 3.0, 5.5, 10.0),
    }

    alpha: float | Literal["auto"] = parameter("auto", "weight of the memory; auto chooses on validation episodes", above=0)
    beta: float | Literal["auto"] = parameter("auto", "sharpness of the memory; auto chooses on validation episodes", above=0)

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the zero-shot score plus the memory's.

        Raises:
            UserError: the episodes bring no text features.
        """
        query, text = normalize(episodes.query, dim=-1), text_of(episodes)
        values = one_hot(episodes.support_labels, episodes.ways, query.dtype)  # [E, S, N]
        return text_scores(query, text) + self.memory(query, self.keys(episodes), values)  # [E, Q, N]

    def keys(self, episodes: Episodes) -> Tensor:
        """The memory's keys, [E, S, D]."""
        return unit_support(episodes)

    def affinities(self, features: Tensor, keys: Tensor) -> Tensor:
        """The weight of each key for features [E, Q, D] of length 1: alpha · exp(−beta · (1 − q·k)), [E, Q, S]."""
        assert not isinstance(self.alpha, str) and not isinstance(self.beta, str)
        return self.alpha * torch.exp(self.beta * (dot_products(features, keys) - 1))

    def memory(self, features: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The memory's part of the scores, [E, Q, N]."""
        return torch.bmm(self.affinities(features, keys), values)
