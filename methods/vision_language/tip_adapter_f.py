"""Tip-Adapter-F: Tip-Adapter with keys that are fine-tuned on the support.

Zhang et al. 2022, "Tip-Adapter: training-free adaption of CLIP for few-shot classification", arXiv:2207.09519.

The scores are Tip-Adapter's. The keys start as the support's features and are then trained in every episode to classify the
support, by cross-entropy, AdamW (learning rate 0.001, ε = 1e-4, weight decay 0.01) and a cosine schedule over 20 epochs, as in
the authors' released code. Text features and values stay as they are.

Differs from the paper: the method works on features, so that an epoch sees every support image once, without augmentation, and
is one step (the paper's batches hold 256 images). The released code takes the epoch that is best on the test images, and
searches alpha and beta after a training with fixed ones. Here the last epoch counts, and each pair is tried with a training of
its own, on validation episodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..base import Episodes, one_hot, parameter
from ..parts.adam import EPSILON, Adam
from ..parts.clip_scores import absent_classes, row_shares, text_of, text_scores
from .tip_adapter import TipAdapter

PAPERS_EPSILON, WEIGHT_DECAY = 1e-4, 0.01


@dataclass(frozen=True)
class TipAdapterF(TipAdapter):
    """Tip-Adapter-F: Tip-Adapter with its keys fine-tuned on the support (Zhang et al. 2022)."""

    epochs: int = parameter(20, "passes over the support, one step each", minimum=0)
    learning_rate: float = parameter(0.001, "learning rate of AdamW at the start of its cosine schedule", above=0)

    def keys(self, episodes: Episodes) -> Tensor:
        """The trained keys, [E, S, D]; zeros where a place is padding."""
        support = super().keys(episodes)  # [E, S, D]
        labels, text = episodes.support_labels, text_of(episodes)
        values = one_hot(labels, episodes.ways, support.dtype)  # [E, S, N]
        fixed = text_scores(support, text) + absent_classes(episodes, support.dtype)  # [E, S, N]
        shares = row_shares(labels, support.dtype)  # [E, S, 1]
        keys = support.clone()
        # Adam's step is the same for gradient g and ε as for c·g and c·ε. With this c, Adam's own ε acts as the paper's.
        shares = shares * (EPSILON / PAPERS_EPSILON)
        optimizer = Adam([keys], [self.learning_rate], WEIGHT_DECAY)
        for epoch in range(self.epochs):
            optimizer.learning_rates = [self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2]
            optimizer.step([self._gradient(keys, support, values, fixed, shares)])
        return keys

    def _gradient(self, keys: Tensor, support: Tensor, values: Tensor, fixed: Tensor, shares: Tensor) -> Tensor:
        """Gradient for each key: Σ e_n · beta · affinity · row over the rows, with n its class, e = (softmax − y) · share."""
        assert not isinstance(self.beta, str)
        affinities = self.affinities(support, keys)  # [E, rows, keys]
        errors = ((fixed + torch.bmm(affinities, values)).softmax(dim=-1) - values) * shares  # [E, rows, N]
        by_key = torch.bmm(errors, values.transpose(1, 2)).mul_(affinities).mul_(self.beta)  # [E, rows, keys]
        return torch.bmm(by_key.transpose(1, 2), support)  # [E, keys, D]
