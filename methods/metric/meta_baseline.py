"""Meta-Baseline.

Chen, Liu, Xu, Darrell and Wang 2021, "Meta-Baseline: exploring simple meta-learning for few-shot learning", arXiv:2003.04390.

A backbone that was pretrained as a classifier of the whole train split is meta-trained. The score of a class is the cosine of
the query with the mean of the class's support features, times a learned number that starts at 10.

Differs from the paper: nothing in the scores; the pretraining is a run of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ..base import Episodes, Method, class_means
from ..parts.similarity import cosines

INITIAL_TEMPERATURE = 10.0


class Temperature(nn.Module):
    """The learned factor on the cosine."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))


@dataclass(frozen=True)
class MetaBaseline(Method):
    """Meta-Baseline: nearest class mean by cosine, with a learned temperature (Chen et al. 2021)."""

    meta_trained: ClassVar[bool] = True
    citation: ClassVar[str] = "Chen, Liu, Xu, Darrell and Wang 2021, arXiv:2003.04390"

    def learned_part(self, backbone: nn.Module, width: int, ways: int, generator: Generator) -> Temperature:
        """The temperature."""
        return Temperature()

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: the temperature times the cosine with the class mean."""
        assert isinstance(episodes.learned, Temperature)
        means = class_means(episodes.support, episodes.support_labels, episodes.ways)  # [E, N, D]
        return episodes.learned.temperature * cosines(episodes.query, means)  # [E, Q, N]
