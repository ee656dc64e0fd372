"""A sampler whose episodes are those of another one, under conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...core.options import Settings
from ..episodes import EpisodeBatch
from ..samplers import Sampler
from .conditions import Conditions
from .label_noise import with_noise
from .query_balance import with_shares
from .unlabelled import with_unlabelled


@dataclass(frozen=True)
class ConditionedSampler(Sampler):
    """Draws the episodes of another sampler, and changes what the conditions say: all else is the same.

    Attributes:
        clean: the other sampler.
        conditions: at least one.
    """

    name: ClassVar[str] = "conditioned"
    clean: Sampler
    conditions: Conditions

    @classmethod
    def around(cls, clean: Sampler, conditions: Conditions) -> Sampler:
        """The sampler under conditions; itself where there are none."""
        return cls(clean.offsets, clean.seed, clean, conditions) if conditions.any else clean

    def check(self) -> None:
        """Do nothing: the clean sampler has checked the split, and drawing checks what an episode needs beyond it."""

    @property
    def parameters(self) -> Settings:
        """Those of the clean sampler; a record holds the conditions apart."""
        return self.clean.parameters

    @property
    def most(self) -> int | None:
        """As many episodes as the clean sampler has."""
        return self.clean.most

    def coarsity(self, count: int) -> np.ndarray | None:
        """That of the clean episodes, whose classes are the same."""
        return self.clean.coarsity(count)

    def draw_chunk(self, start: int, stop: int) -> EpisodeBatch:
        """Draw episodes `start` to `stop` at once."""
        batch = self.clean.draw(start, stop)
        if self.conditions.query_balance is not None:
            batch = with_shares(batch, self.offsets, self.seed, self.conditions.query_balance, self.conditions.unlabelled or 0)
        if self.conditions.unlabelled is not None:
            images, distractors = self.conditions.unlabelled, self.conditions.distractors or 0
            batch = with_unlabelled(batch, self.offsets, self.seed, images, distractors)
        return self._noisy(batch)

    def disjoint_episodes(self) -> EpisodeBatch | None:
        """Those of the clean sampler with wrong labels; None where an episode has further images."""
        further = self.conditions.query_balance is not None or self.conditions.unlabelled is not None
        apart = None if further else self.clean.disjoint_episodes()
        return None if apart is None else replace(self._noisy(apart), seeds=apart.seeds)

    def _noisy(self, batch: EpisodeBatch) -> EpisodeBatch:
        noise, kind = self.conditions.label_noise, self.conditions.noise_kind
        return batch if noise is None or kind is None else with_noise(batch, self.seed, noise, kind)
