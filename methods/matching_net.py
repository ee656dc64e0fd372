"""Matching networks, without full-context embeddings.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, "Matching networks for one shot learning", arXiv:1606.04080.

A query attends to the support images: the softmax of its cosine similarities to all of them (equations 1 and 2 of the paper).
The score of a class is the attention that its support images get together, which is a probability.

Differs from the paper: no full-context embeddings; the features are taken as the backbone gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .base import Episodes, Method, one_hot
from .similarity import dot_products

SMALLEST_NORM = 1e-12  # keeps an all-zero feature from a division by zero; its similarities are 0


@dataclass(frozen=True)
class MatchingNet(Method):
    """Matching networks: cosine attention over the support, no full-context embeddings (Vinyals et al. 2016)."""

    citation: ClassVar[str] = "Vinyals et al. 2016, arXiv:1606.04080"

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the attention that falls on the class, from 0 to 1."""
        support = normalize(episodes.support, dim=-1, eps=SMALLEST_NORM)  # [E, S, D]
        query_norm = torch.linalg.vector_norm(episodes.query, dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)  # [E, Q, 1]
        cosine = dot_products(episodes.query, support) / query_norm  # [E, Q, S]
        padding = (episodes.support_labels < 0)[:, None]  # [E, 1, S]
        attention = cosine.masked_fill(padding, -torch.inf).softmax(dim=-1)  # [E, Q, S]
        return torch.bmm(attention, one_hot(episodes.support_labels, episodes.ways, attention.dtype))  # [E, Q, N]
