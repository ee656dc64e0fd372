"""A cosine classifier on features, trained for many episodes at once.

The logit of class n for a feature x is scale · x·w_n / (‖x‖·‖w_n‖) (Chen et al. 2019, arXiv:1904.04232). The initial w_n is the
normalised mean of the class's normalised support features (Dhillon et al. 2020, arXiv:1909.02729, "support-based
initialization"; Qi, Brown and Lowe 2018, arXiv:1712.07136, "imprinting").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..base import class_means, one_hot
from .adam import Adam
from .similarity import SMALLEST_NORM


def initial_weights(support: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Normalised class means of normalised features: [E, S, D] to [E, N, D]; zeros where an episode has fewer classes."""
    return normalize(class_means(normalize(support, dim=-1), labels, ways), dim=-1)


def train(
    weights: Tensor,
    support: Tensor,
    labels: Tensor,
    class_mask: Tensor,
    *,
    scale: float,
    steps: int,
    learning_rate: float,
    weight_decay: float,
) -> Tensor:
    """Minimise each episode's mean cross-entropy over its support by Adam, with the whole support at every step.

    Args:
        weights: initial weights [E, N, D]; not changed.
        support: [E, S, D].
        labels: int64 [E, S], −1 where a place is padding.
        class_mask: bool [E, N], False where an episode has fewer classes.
        scale: factor on the cosine before the softmax.
        steps: number of Adam's steps.
        learning_rate: Adam's learning rate.
        weight_decay: Adam's decoupled weight decay.

    Returns:
        The trained weights, [E, N, D].
    """
    trained = weights.clone()
    gradient = _Gradient(support, labels, class_mask, scale)
    optimizer = Adam([trained], [learning_rate], weight_decay)
    for _ in range(steps):
        optimizer.step([gradient(trained)])
    return trained


class _Gradient:
    """The gradient of the loss, for E episodes that train together."""

    def __init__(self, support: Tensor, labels: Tensor, class_mask: Tensor, scale: float) -> None:
        present = labels >= 0  # [E, S]
        self.scale = scale
        self.rows = normalize(support.masked_fill(~present[..., None], 0), dim=-1)  # [E, S, D]
        self.columns = self.rows.transpose(1, 2).contiguous()  # [E, D, S]; a product with a transposed matrix is slower
        self.targets = one_hot(labels, class_mask.shape[1], support.dtype).transpose(1, 2).contiguous()  # [E, N, S]
        # Weight of each row's loss: one over the episode's rows, 0 where a place is padding.
        self.shares = (present / present.sum(dim=1, keepdim=True).clamp(min=1))[:, None].to(support.dtype)  # [E, 1, S]
        absent = torch.zeros_like(class_mask, dtype=support.dtype).masked_fill(~class_mask, -torch.inf)
        self.absent = absent[..., None]  # [E, N, 1]

    def __call__(self, weights: Tensor) -> Tensor:
        """1/‖w‖ · (Σ e·x − w/‖w‖ · Σ e·c), [E, N, D], with cosine c = w·x/‖w‖, error e = scale·(softmax(scale·c) − y)/S."""
        inverse = torch.linalg.vector_norm(weights, dim=-1, keepdim=True).clamp_(min=SMALLEST_NORM).reciprocal_()  # [E, N, 1]
        cosine = torch.bmm(weights, self.columns).mul_(inverse)  # [E, N, S]
        logits = torch.add(self.absent, cosine, alpha=self.scale)
        error = logits.softmax(dim=1).sub_(self.targets).mul_(self.shares).mul_(inverse * self.scale)  # e/‖w‖
        along = (error * cosine).sum(dim=-1, keepdim=True).mul_(inverse)  # [E, N, 1]
        return torch.bmm(error, self.rows).addcmul_(weights, along, value=-1)
