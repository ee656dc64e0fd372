"""The scores of methods on CLIP: cosines with the text of each class at CLIP's temperature, and help for their cross-entropy.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", arXiv:2103.00020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...core.errors import UserError
from ..base import Episodes
from .similarity import dot_products

SCALE = 100.0  # factor on a cosine: one over the temperature of a trained CLIP, where its training clips it (section 2.5)


def text_of(episodes: Episodes) -> Tensor:
    """The text feature of each class, [E, N, D].

    Raises:
        UserError: the episodes have no text features.
    """
    if episodes.text is None:
        raise UserError("there are no text features of the classes; take a backbone with a text tower: --backbone clip-tiny")
    return episodes.text


def unit_support(episodes: Episodes) -> Tensor:
    """Support features at length 1, [E, S, D]; zeros where a place is padding."""
    return normalize(episodes.support.masked_fill((episodes.support_labels < 0)[..., None], 0), dim=-1)


def text_scores(features: Tensor, text: Tensor) -> Tensor:
    """100 · cosine of features [E, Q, D] of length 1 with text features [E, N, D] of length 1: [E, Q, N]."""
    return SCALE * dot_products(features, text)


def absent_classes(episodes: Episodes, dtype: torch.dtype) -> Tensor:
    """A summand for scores before a softmax, [E, 1, N]: −∞ where an episode has fewer classes, else 0."""
    mask = episodes.class_mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)[:, None]


def row_shares(labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Weight of each support row in its episode's mean, [E, S, 1]: one over the episode's rows, 0 where a place is padding."""
    present = (labels >= 0).to(dtype)
    return (present / present.sum(dim=1, keepdim=True).clamp(min=1))[..., None]
