"""What scores are worth: the credit of each query, the accuracy of each episode, and the votes of several views.

Letters in shape comments: E episodes, N ways (classes), Q query rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...tasks.episodes import ABSENT


def votes(scores: Sequence[Tensor]) -> Tensor:
    """The votes of several views for each class, float64 [E, Q, N], and −∞ for classes that an episode does not have.

    A view votes for its class with the highest score. Of classes with as many votes the one wins that has the higher mean
    softmax of the scores, which is added as a part of a vote.

    Args:
        scores: of each view, [E, Q, N], −∞ for classes that an episode does not have.
    """
    total = torch.zeros_like(scores[0], dtype=torch.float64)
    for one in scores:
        total += one_hot(one.argmax(dim=2), one.shape[2]) + one.double().softmax(dim=2) / (2 * len(scores))
    return total.masked_fill(scores[0].isneginf() & (total < 1), -torch.inf)


def accuracies_of(scores: Tensor, labels: Tensor) -> np.ndarray:
    """Accuracy of each episode, float64 [E]."""
    return (credit(scores, labels).sum(dim=1) / (labels != ABSENT).sum(dim=1)).cpu().numpy()


def credit(scores: Tensor, labels: Tensor) -> Tensor:
    """The credit of each query, float64 [E, Q]: 1 right, 0 wrong or padding.

    A query whose highest score is shared by t classes counts 1/t when its own class is among them: the expected accuracy of
    breaking the tie at random.
    """
    tied = scores == scores.amax(dim=2, keepdim=True)  # [E, Q, N]
    right = tied.gather(2, labels.clamp(min=0)[..., None])[..., 0] & (labels != ABSENT)  # [E, Q]
    return right.double() / tied.sum(dim=2).clamp(min=1)  # the scores of padding may be NaN, and then nothing is tied
