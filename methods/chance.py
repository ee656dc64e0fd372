"""Chance: the accuracy of guessing, for the bottom of a table.

Every class gets the same score. An evaluation that counts a tie with its expected accuracy then gives exactly 1/N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Episodes, Method


@dataclass(frozen=True)
class Chance(Method):
    """Chance level: every class scores alike, so the expected accuracy is 1/N."""

    uses_support: ClassVar[bool] = False

    def classify(self, episodes: Episodes) -> Tensor:
        """Score: 0 for every class."""
        count, queries = episodes.query.shape[:2]
        return episodes.query.new_zeros(count, queries, episodes.ways)
